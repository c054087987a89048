#!/bin/sh
# The main job in a small form: a Maildir, a simulator in the place of Apple's push service, and pushmaild between them. A device registers,
# mail is delivered, read and deleted by renaming files, as mail servers do it, and each push is shown as it comes: to Apple, and as a
# datagram to a listener in the place of OS X Server's push daemon. Needs a Rust toolchain, a C compiler and curl, speaks to nobody
# but itself, and leaves nothing behind.
set -eu

cd "$(dirname "$0")/.."
cargo build --quiet --bin pushmaild --example apns-simulator
case ${CARGO_TARGET_DIR:-} in
    '') built=$(pwd)/target/debug ;;
    /*) built=$CARGO_TARGET_DIR/debug ;;
    *) built=$(pwd)/$CARGO_TARGET_DIR/debug ;;
esac
pushmaild=$built/pushmaild

# The plugin's daemon listens on 11619; a demonstration beside a real one takes some other port.
port=$((20000 + $$ % 20000))
tmp=$(mktemp -d "${TMPDIR:-/tmp}/pushmaild-demo.XXXXXX")
simulator='' listener='' daemon=''
cleanup() {
    for pid in $daemon $listener $simulator; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# Waits until a file has so many lines with a word, for at most ten seconds.
wait_for() {
    tries=0
    until [ "$(grep -c "$2" "$1" 2>/dev/null || true)" -ge "$3" ]; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then
            echo "    nothing came within ten seconds; what pushmaild said:" >&2
            cat "$tmp/pushmaild.log" >&2
            exit 1
        fi
        sleep 0.05
    done
}

pushes=0
expect_push() {
    pushes=$((pushes + 1))
    wait_for "$tmp/apple" '"path"' $pushes
    wait_for "$tmp/datagrams" notify $pushes
    push=$(grep '"path"' "$tmp/apple" | sed -n "${pushes}p")
    field() { printf '%s\n' "$push" | sed -n "s/.*\"$1\":\([^,]*\).*/\1/p"; }
    echo "    to Apple: device $(field token | cut -c2-9)…, topic $(field topic), $(printf '%s\n' "$push" | sed -n 's/.*"payload":\({[^}]*}}\).*/\1/p') -> $(field status)"
    echo "    datagram: $(sed -n "${pushes}p" "$tmp/datagrams")"
    echo "    jesse's phone would look at its mailbox now."
}

echo "A simulator waits in the place of Apple's push service, and a listener in that of OS X Server's push daemon."
"$built/examples/apns-simulator" --dir "$tmp/apns" --topic com.apple.mobilemail.push.org.example > "$tmp/apple" 2>/dev/null &
simulator=$!
"$pushmaild" listen "$tmp/push_notify" > "$tmp/datagrams" 2> "$tmp/listener.log" &
listener=$!
wait_for "$tmp/apple" 'listening on' 1
wait_for "$tmp/listener.log" listening 1

maildir=$tmp/mail/jesse/Maildir
mkdir -p "$maildir/tmp" "$maildir/new" "$maildir/cur"
cat > "$tmp/pushmaild.toml" <<TOML
[mailboxes]
mail-location = "maildir:$tmp/mail/%n/Maildir"

[debounce]
change-quiet = "1s"          # a read or deleted message is pushed after this much quiet; 10s unless set

[apns]
certificate = "apns/client.pem"
endpoint = "$(sed -n 's/listening on \([^;]*\);.*/\1/p' "$tmp/apple")"
ca-file = "apns/ca.pem"

[registry]
url = "sqlite:devices.db"

[listen]
xaps-http = "127.0.0.1:$port"      # the plugin in docker-mailserver's recipe connects to such a port

[push-notify]
socket = "$tmp/push_notify"

[control]
socket = "$tmp/control.sock"
TOML

echo
echo "1. pushmaild watches jesse's Maildir. Is everything right?"
"$pushmaild" check -c "$tmp/pushmaild.toml" | sed -n 's/^/    /; /^    \(sink\|registr\)/p' | cut -c1-150
"$pushmaild" run -c "$tmp/pushmaild.toml" 2> "$tmp/pushmaild.log" &
daemon=$!
wait_for "$tmp/pushmaild.log" watching 1

echo
echo "2. jesse's phone registers. This is what Dovecot's plugin says, and the topic that the phone is told:"
topic=$(curl --silent --show-error --fail "http://127.0.0.1:$port/register" --data \
    '{"ApsAccountId":"0715A26B-CA09-4730-A419-793000CA982E","ApsDeviceToken":"a66216ad1683d48b9933cdcc3b98a833ee1a968143f41ea494187da54715da66","ApsSubtopic":"com.apple.mobilemail","Username":"jesse","Mailboxes":["INBOX"]}' \
    | tr -d '\000')
echo "    POST /register -> $topic"

message=1795303915.M334906P18022.host
echo
echo "3. Mail for jesse is delivered: a file is renamed from tmp/ into new/."
printf 'Subject: hello\n\nHello Jesse\n' > "$maildir/tmp/$message"
mv "$maildir/tmp/$message" "$maildir/new/$message"
expect_push

echo
echo "4. jesse's laptop opens the mailbox: the file goes to cur/. Nothing was read, so nothing is pushed."
mv "$maildir/new/$message" "$maildir/cur/$message:2,"

echo
echo "5. jesse reads it on the laptop: the file gets the flag S. The phone still shows a badge, so it has to look."
mv "$maildir/cur/$message:2," "$maildir/cur/$message:2,S"
expect_push

echo
echo "6. jesse deletes it on the laptop."
rm "$maildir/cur/$message:2,S"
expect_push

echo
datagrams=$(grep -c notify "$tmp/datagrams")
requests=$(grep -c '"path"' "$tmp/apple")
if [ "$datagrams" -ne 3 ] || [ "$requests" -ne 3 ]; then
    echo "There were $requests pushes to Apple and $datagrams datagrams in all, where three of each were to come." >&2
    exit 1
fi
echo "Three pushes in all: new mail at once, changes after a second of quiet, and none for what means nothing."
