# A machine of its own for one document: namespaces that nobody else sees, in which everything may be installed, changed and removed. The
# folders of the system are there, and what is written to them goes with this process. $1 is a folder with the blocks, 1.sh, 2.sh, …, where
# what they print and how they end is left; $2 is the program, and $3 what this machine has beside, a script, or nothing. The commands of
# the documents find it all where a server has it.
set -eu
program=$2 scene=${3:-}

mount --make-rprivate /
layers=$1/machine
mkdir "$layers"
mount -t tmpfs tmpfs "$layers"
# $2 as it is, at $1, with a layer for what is written.
layer() {
    upper=$(mktemp -d "$layers/XXXXXX")
    mkdir "$upper/files" "$upper/work"
    chmod --reference="$2" "$upper/files"
    mount -t overlay overlay -o "lowerdir=$2,upperdir=$upper/files,workdir=$upper/work" "$1"
}
for folder in /etc /usr /var /home /root; do layer "$folder" "$folder"; done
mount -t tmpfs -o mode=755 tmpfs /run
blocks=/run/document
mkdir "$blocks" && mount --bind "$1" "$blocks"
# The blocks are run in what looks like a copy of the project after `cargo build --release`.
chmod 755 /root
mkdir -p /root/source && layer /root/source "$PWD"
mkdir -p /root/source/target/release
install -m 755 "$program" /root/source/target/release/pushmaild
install -m 755 "$program" /usr/bin/pushmaild
mount -t tmpfs -o mode=1777 tmpfs /tmp
cd /root/source
ip link set lo up

# As the package does it.
rm -rf /etc/pushmaild /var/lib/pushmaild
systemd-sysusers "$PWD/systemd/pushmaild.sysusers"
systemd-tmpfiles --create "$PWD/systemd/pushmaild.tmpfiles"

# We are root already, and CI has no sudo.
cat > /usr/local/bin/sudo << 'SUDO'
#!/bin/sh
if [ "$1" = -u ]; then
    user=$2
    shift 2
    exec runuser -u "$user" -- "$@"
fi
exec "$@"
SUDO
chmod 755 /usr/local/bin/sudo
export PATH="/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin" HOME=/root USER=root

# The daemon, with the user and the capability that its unit gives it. It is there when this returns, and ends with the machine.
start_daemon() {
    # As the unit does it.
    install -d -m 711 -o pushmaild -g pushmaild /run/pushmaild
    : > "$blocks/daemon.log"
    setpriv --reuid pushmaild --regid pushmaild --init-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search \
        --bounding-set=-all,+dac_read_search pushmaild run 2>> "$blocks/daemon.log" &
    daemon=$!
    (tail -n +1 -f --pid=$daemon "$blocks/daemon.log" 2> /dev/null &) | grep -q -m 1 ' watching '
}

# jo and anna at example.org, in Maildirs of vmail that are closed to others, as a Dovecot with virtual users has them.
two_users() {
    echo 'u vmail - "Virtual mail" /var/vmail' | systemd-sysusers -
    for user in jo anna; do
        maildir=/var/vmail/example.org/$user/Maildir
        install -d -o vmail -g vmail /var/vmail /var/vmail/example.org
        install -d -m 700 -o vmail -g vmail "${maildir%/*}" "$maildir" "$maildir/cur" "$maildir/new" "$maildir/tmp"
    done
}

# A certificate for pushes of mail, with its key: signed by itself, which nobody notices before Apple is dialled.
certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout key.pem -out certificate.pem -subj "/CN=APSP:example/UID=$topic" \
        -addext "$for_production" 2> openssl.log || { cat openssl.log && exit 1; }
    cat certificate.pem key.pem > "$1"
    rm certificate.pem key.pem openssl.log
    chmod 640 "$1"
}
topic=com.apple.mobilemail.push.org.example
for_production=1.2.840.113635.100.6.3.2=DER:0500

# The two, pushed through Apple; jo has a phone.
usual_server() {
    two_users
    certificate /etc/pushmaild/apns.pem
    cat > /etc/pushmaild/pushmaild.toml << 'TOML'
[mailboxes]
mail-location = "maildir:/var/vmail/%d/%n/Maildir"
[apns]
certificate = "apns.pem"
TOML
    a_phone_registers > /dev/null
}
a_phone_registers() {
    pushmaild devices add jo@example.org --token aabbccddeeff --account 0715A26B-CA09-4730-A419-793000CA982E
}

# A receiver of push_notify datagrams, in the place of OS X Server's push daemon. It is there when this returns.
receiver() {
    mkdir -p "$(dirname "$1")"
    : > "$blocks/receiver.log"
    pushmaild listen "$1" > "$blocks/receiver.out" 2>> "$blocks/receiver.log" &
    (tail -n +1 -f --pid=$! "$blocks/receiver.log" 2> /dev/null &) | grep -q -m 1 listening
    chmod 666 "$1"
}

# The configuration that a document shows first.
configuration_of() {
    awk '$0 == "```" && on { exit } on; $0 == "```toml" { on = 1 }' "$1" > /etc/pushmaild/pushmaild.toml
}

[ -z "$scene" ] || . "./$scene"

daemon=''
for block in $(cd "$blocks" && ls | grep '\.sh$' | sort -n); do
    number=${block%.sh}
    if [ -e "$blocks/$number.daemon" ] && [ -z "$daemon" ]; then
        start_daemon || echo 'the daemon does not start'
    fi
    # What others do in between.
    ! type "before_$number" > /dev/null || "before_$number"
    status=0
    sh -eu "$blocks/$block" < /dev/null > "$blocks/$number.out" 2>&1 || status=$?
    echo $status > "$blocks/$number.status"
    [ $status -eq "$(cat "$blocks/$number.expected")" ] || break
done
