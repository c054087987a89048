#!/bin/sh
# A new user's first five minutes, on a fresh Debian with Dovecot and a systemd that runs: packaging/try-deb.sh WORK DEB [PLUGIN]
#
# As root, with debootstrap and systemd-container; takes minutes the first time, and seconds later. Debian 12 is made in WORK/base, and
# kept. Above it, gone afterwards, is a box that systemd-nspawn boots, without a network: apt installs the package there, and
# try-deb-inside.sh goes on with `check`, the service, deliveries, Dovecot's own list of users, what `doctor` says of broken things, an
# upgrade, a purge. With PLUGIN, a folder with the source of dovecot-xaps-plugin by freswa, a phone registers through it. Ends with 0 if
# all of it went as it should.
set -eu
[ "${IN_NAMESPACE:-}" ] || {
    mkdir -p "$1"
    IN_NAMESPACE=1 exec unshare --mount "$0" "$(realpath "$1")" "$(realpath "$2")" "${3:+$(realpath "$3")}"
}
work=$1 deb=$2 plugin=${3:-} box=$work/box here=$(realpath "$(dirname "$0")")

[ -e "$work/base/done" ] || {
    rm -rf "$work/base"
    # The last four are for the plugin.
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,dovecot-imapd,dovecot-lmtpd,man-db,gcc,make,cmake,dovecot-dev \
        bookworm "$work/base"
    touch "$work/base/done"
}
mkdir -p "$work/layers" "$box"
mount -t tmpfs none "$work/layers"
mkdir "$work/layers/upper" "$work/layers/work"
mount -t overlay overlay -o "lowerdir=$work/base,upperdir=$work/layers/upper,workdir=$work/layers/work" "$box"
cp "$deb" "$box/root/pushmaild.deb"
[ -z "$plugin" ] || cp -r "$plugin" "$box/root/plugin"
cp "$here/docker-mailserver/95-xaps.conf" "$here/../docs/install-linux.md" "$box/root/"

install -m 755 "$here/try-deb-inside.sh" "$box/root/try"
cat > "$box/etc/systemd/system/try.service" << 'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/root/try
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/root/log
StandardError=inherit
END
mkdir -p "$box/etc/systemd/system/default.target.wants"
ln -s ../try.service "$box/etc/systemd/system/default.target.wants/"

timeout 300 systemd-nspawn --quiet --register=no --keep-unit --private-network --console=read-only -D "$box" --boot < /dev/null > "$work/console" || true
cat "$box/root/log"
[ "$(cat "$box/root/result")" = good ]
