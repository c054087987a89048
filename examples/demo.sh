#!/bin/sh
# The main job in a small form: a Maildir, a listener in the place of Apple's push daemon, and pushmaild between them. Mail is
# delivered, read and deleted by renaming files, as mail servers do it. Needs nothing but a Rust toolchain, leaves nothing behind.
set -eu

cd "$(dirname "$0")/.."
cargo build --quiet --bin pushmaild
pushmaild=$(pwd)/${CARGO_TARGET_DIR:-target}/debug/pushmaild
case ${CARGO_TARGET_DIR:-} in /*) pushmaild=$CARGO_TARGET_DIR/debug/pushmaild ;; esac

tmp=$(mktemp -d "${TMPDIR:-/tmp}/pushmaild-demo.XXXXXX")
listener='' daemon=''
cleanup() {
    for pid in $daemon $listener; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

maildir=$tmp/mail/jesse/Maildir
mkdir -p "$maildir/tmp" "$maildir/new" "$maildir/cur"
cat > "$tmp/pushmaild.toml" <<TOML
[mailboxes]
mail-location = "maildir:$tmp/mail/%n/Maildir"

[debounce]
change-quiet = "1s"          # a read or deleted message is pushed after this much quiet; 10s unless set

[push-notify]
socket = "$tmp/push_notify"
TOML

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
    wait_for "$tmp/datagrams" notify $pushes
    echo "    datagram: $(sed -n "${pushes}p" "$tmp/datagrams")"
    echo "    jesse's phone would look at its mailbox now."
}

echo "A listener waits in the place of Apple's push daemon, and pushmaild watches jesse's Maildir."
"$pushmaild" listen "$tmp/push_notify" > "$tmp/datagrams" 2> "$tmp/listener.log" &
listener=$!
wait_for "$tmp/listener.log" listening 1
"$pushmaild" run -c "$tmp/pushmaild.toml" 2> "$tmp/pushmaild.log" &
daemon=$!
wait_for "$tmp/pushmaild.log" watching 1

message=1795303915.M334906P18022.host
echo
echo "1. Mail for jesse is delivered: a file is renamed from tmp/ into new/."
printf 'Subject: hello\n\nHello Jesse\n' > "$maildir/tmp/$message"
mv "$maildir/tmp/$message" "$maildir/new/$message"
expect_push

echo
echo "2. jesse's laptop opens the mailbox: the file goes to cur/. Nothing was read, so nothing is pushed."
mv "$maildir/new/$message" "$maildir/cur/$message:2,"

echo
echo "3. jesse reads it on the laptop: the file gets the flag S. The phone still shows a badge, so it has to look."
mv "$maildir/cur/$message:2," "$maildir/cur/$message:2,S"
expect_push

echo
echo "4. jesse deletes it on the laptop."
rm "$maildir/cur/$message:2,S"
expect_push

echo
total=$(grep -c notify "$tmp/datagrams")
if [ "$total" -ne 3 ]; then
    echo "There were $total datagrams in all, where three were to come." >&2
    exit 1
fi
echo "Three datagrams in all: new mail at once, changes after a second of quiet, and none for what means nothing."
