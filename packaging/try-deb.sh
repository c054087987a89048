#!/bin/sh
# A new user's first five minutes, on a fresh Debian with Dovecot and a systemd that runs: packaging/try-deb.sh WORK DEB [PLUGIN]
#
# As root, with debootstrap and systemd-container; takes minutes the first time, and seconds later. Debian 12 is made in WORK/base, and
# kept. Above it, gone afterwards, is a box that systemd-nspawn boots, without a network: apt installs the package there, and
# box/root/try (below) goes on with `check`, the service, a delivery, a reload, an upgrade, a purge. With PLUGIN, a folder
# with the source of dovecot-xaps-plugin by freswa, a phone registers through it. Ends with 0 if all of it went as it should.
set -eu
[ "${IN_NAMESPACE:-}" ] || {
    mkdir -p "$1"
    IN_NAMESPACE=1 exec unshare --mount "$0" "$(realpath "$1")" "$(realpath "$2")" "${3:+$(realpath "$3")}"
}
work=$1 deb=$2 plugin=$3 box=$work/box

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
cp "$(dirname "$0")/docker-mailserver/95-xaps.conf" "$box/root/"

cat > "$box/root/try" << 'END'
#!/bin/sh
set -eux
# `set -e` takes no notice of a command after `!`.
fails() { if "$@"; then return 1; fi; }
trap 'journalctl --no-pager -u pushmaild' EXIT

# Debian's Dovecot with mail in ~/Maildir, and somebody with an account.
useradd --create-home jesse
cat > /etc/dovecot/conf.d/99-maildir.conf << 'DOVECOT'
mail_location = maildir:~/Maildir
DOVECOT
systemctl restart dovecot
doveadm mailbox create -u jesse Archive

apt-get install -y --no-install-recommends /root/pushmaild.deb
man pushmaild.toml | head -n 4
fails systemctl is-enabled pushmaild
# The certificate is missing; all else is there.
status=0
pushmaild check || status=$?
[ "$status" = 1 ]
pushmaild users | grep jesse

if [ -d /root/plugin ]; then
    cmake -S /root/plugin -B /root/build -DCMAKE_BUILD_TYPE=Release
    make -C /root/build install
    cp /root/95-xaps.conf /etc/dovecot/conf.d/
    systemctl restart dovecot
    # Without a certificate phones can register, once the topic is known.
    sed -i -e 's/^certificate/# &/' -e 's/^# topic/topic/' /etc/pushmaild/pushmaild.toml
    systemctl start pushmaild
    # What a phone says.
    printf 'a XAPPLEPUSHSERVICE aps-version 2 aps-account-id %s aps-device-token %s aps-subtopic com.apple.mobilemail mailboxes (INBOX)\r\nb LOGOUT\r\n' \
        0715A26B-CA09-4730-A419-793000CA982E 2918390218931890821908309283098109381029309829018310983092892829 |
        doveadm exec imap -u jesse | grep 'aps-topic "com.apple.mobilemail.push.org.example"'
    pushmaild devices list | grep '^jesse  *29183902.*active'
    systemctl stop pushmaild
fi

# No Apple here: a receiver that prints what it gets.
sed -i -e '/^\[apns\]/,$d' /etc/pushmaild/pushmaild.toml
cat >> /etc/pushmaild/pushmaild.toml << 'CONFIGURATION'
[push-notify]
socket = "/var/lib/pushmaild/push_notify"
dialect = "osx-10.8"
[exec]
command = ["/usr/local/bin/on-mail", "{user}", "{kind}"]
CONFIGURATION
cat > /usr/local/bin/on-mail << 'PROGRAM'
#!/bin/sh
# In the sandbox: it may write here, and has no capability.
{ echo "$1 $2"; grep CapEff /proc/self/status; } >> /var/lib/pushmaild/on-mail
PROGRAM
chmod 755 /usr/local/bin/on-mail
setpriv --reuid pushmaild --regid pushmaild --clear-groups pushmaild listen --json /var/lib/pushmaild/push_notify > /root/pushes &
until [ -S /var/lib/pushmaild/push_notify ]; do sleep 0.1; done
pushmaild check

systemctl enable --now pushmaild
systemctl is-active pushmaild
systemd-analyze security --no-pager --threshold=20 pushmaild
# What else the sandbox has to let through: Dovecot's own words about a user, by a child of the daemon.
mkdir /etc/systemd/system/pushmaild.service.d
cat > /etc/systemd/system/pushmaild.service.d/child.conf << 'UNIT'
[Service]
ExecStartPre=/usr/bin/doveadm user -f home jesse
UNIT
cat > /etc/dovecot/conf.d/99-pushmaild.conf << 'DOVECOT'
service auth {
  unix_listener auth-userdb {
    group = pushmaild
    mode = 0660
  }
}
DOVECOT
systemctl restart dovecot
systemctl daemon-reload
systemctl restart pushmaild
journalctl --no-pager -u pushmaild | grep 'doveadm.*/home/jesse'

# A delivery is pushed.
printf 'Subject: hello\n\nhello\n' | /usr/lib/dovecot/dovecot-lda -d jesse
tries=0
until grep '"user":"jesse"' /root/pushes; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ]
    sleep 0.1
done

until grep -s 'CapEff:.0000000000000000' /var/lib/pushmaild/on-mail; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat /var/lib/pushmaild/on-mail; exit 1; }
    sleep 0.1
done
grep 'jesse new-mail' /var/lib/pushmaild/on-mail
pushmaild status
# Whoever is in the group may ask, too; nobody else.
usermod --append --groups pushmaild jesse
su jesse -s /bin/sh -c 'pushmaild status' > /dev/null
fails su www-data -s /bin/sh -c 'pushmaild status'
pushmaild doctor jesse

systemctl reload pushmaild
# An upgrade restarts the daemon, and leaves the configuration.
before=$(systemctl show -p MainPID --value pushmaild)
dpkg -i /root/pushmaild.deb
[ "$before" != "$(systemctl show -p MainPID --value pushmaild)" ]
systemctl is-active pushmaild
grep 'push-notify' /etc/pushmaild/pushmaild.toml

apt-get purge -y pushmaild
fails systemctl is-active pushmaild
fails test -e /var/lib/pushmaild
fails test -e /etc/pushmaild
fails test -e /run/pushmaild
getent passwd pushmaild
echo good > /root/result
END
chmod 755 "$box/root/try"
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
