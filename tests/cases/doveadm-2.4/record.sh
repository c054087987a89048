#!/bin/sh
# Makes the recordings beside this file again: asks the Dovecot 2.4 of Debian 13 what pushmaild asks. As root, on Linux.
#
#   record.sh DIRECTORY      where Debian 13 is, or shall be put by debootstrap
#
# Everything happens in namespaces of its own for mounts, processes and the network, so nothing is left but the recordings.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${1:?the folder of Debian 13}

if [ ! -x "$root/usr/bin/doveadm" ]; then
    debootstrap --variant=minbase --include=dovecot-core,dovecot-imapd trixie "$root"
fi
# Not the last word of `rm -rf` on a path that is empty.
[ -n "$here" ] && rm -rf "$here/passwd-file" "$here/static"
out=$root/opt/recordings
rm -rf "$out"
mkdir -p "$out"
cp "$here/passwd" "$here/passwd-file.conf" "$here/static.conf" "$out"

cat > "$out/inside.sh" <<'END'
set -eu
cd /opt/recordings

# record FOLDER ARGUMENT…: what doveadm answers, and how it ends.
record() {
    folder=$1
    shift
    mkdir -p "$folder"
    printf '%s\n' "$*" > "$folder/arguments"
    status=0
    doveadm -c "$config" "$@" > "$folder/stdout" 2> "$folder/stderr" || status=$?
    echo "$status" > "$folder/status"
}

for scenario in passwd-file static; do
    config=/opt/recordings/$scenario.conf
    dovecot -F -c "$config" > /dev/null 2>&1 &
    master=$!
    tries=100
    until [ -S /run/recordings/auth-userdb ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo 'Dovecot does not start' >&2; exit 1; }
        sleep 0.1
    done
    record "$scenario/config" config -n
    record "$scenario/list" user '*'
    if [ "$scenario" = passwd-file ]; then
        # Whom it does not find is not asked for again: names with a space or a capital letter.
        record "$scenario/mail_path" user -f mail_path -- jesse jo@example.org mboxer boxer tilde nohome 'sp ace' -dash Upper last
        for field in home mail_driver mail_inbox_path; do
            record "$scenario/$field" user -f "$field" -- jesse jo@example.org mboxer boxer tilde nohome -dash last
        done
    fi
    kill "$master"
    wait "$master" || true
    rm -rf /run/recordings
done
END

unshare --mount --pid --net --uts --fork sh -eu -c '
    root=$1
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/run"
    mount --rbind /dev "$root/dev"
    # It is in the recordings.
    hostname debian13
    exec chroot "$root" sh /opt/recordings/inside.sh' sh "$root"

cp -r "$out/passwd-file" "$out/static" "$here/"
