#!/bin/sh
# The part of try-deb.sh that runs inside, on the fresh Debian: what a new user types, and what has to come of it.
set -eux
# `set -e` takes no notice of a command after `!`.
fails() { if "$@"; then return 1; fi; }
eventually() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || exit 1
        sleep 0.1
    done
}
deliver() { printf 'Subject: hello\n\nhello\n' | /usr/lib/dovecot/dovecot-lda -d "$1"; }
# A receiver that prints what it gets. It runs as the daemon's user, for that one has to write to its socket.
receive() {
    setpriv --reuid pushmaild --regid pushmaild --clear-groups pushmaild listen --json /var/lib/pushmaild/push_notify >> /root/pushes &
    receiver=$!
    eventually test -S /var/lib/pushmaild/push_notify
}
# `doctor USER` has to name this link as the only broken one, and to say this of it.
doctor_finds() {
    fails pushmaild doctor "$1" > /root/doctor || return 1
    cat /root/doctor
    grep -x "broken for $1: $2" /root/doctor && grep -A 1 "^✘ $2 " /root/doctor | grep "$3"
}
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

# No Apple here.
sed -i -e '/^\[apns\]/,$d' /etc/pushmaild/pushmaild.toml
cat >> /etc/pushmaild/pushmaild.toml << 'CONFIGURATION'
[push-notify]
socket = "/var/lib/pushmaild/push_notify"
dialect = "osx-10.8"
[exec]
command = ["/usr/local/bin/on-mail", "{user}", "{kind}"]
[control]
http = "127.0.0.1:9466"
CONFIGURATION
cat > /usr/local/bin/on-mail << 'PROGRAM'
#!/bin/sh
# In the sandbox: it may write here, and has no capability.
{ echo "$1 $2"; grep CapEff /proc/self/status; } >> /var/lib/pushmaild/on-mail
PROGRAM
chmod 755 /usr/local/bin/on-mail
receive
pushmaild check

systemctl enable --now pushmaild
systemctl is-active pushmaild
systemd-analyze security --no-pager --threshold=20 pushmaild

# A delivery is pushed, and the program is run.
deliver jesse
eventually grep '"user":"jesse"' /root/pushes
eventually grep -s 'CapEff:.0000000000000000' /var/lib/pushmaild/on-mail
grep 'jesse new-mail' /var/lib/pushmaild/on-mail
pushmaild status
# Whoever is in the group may ask, too; nobody else.
usermod --append --groups pushmaild jesse
su jesse -s /bin/sh -c 'pushmaild status' > /dev/null
fails su www-data -s /bin/sh -c 'pushmaild status'
# The page's server, without curl.
bash -c 'exec 3<> /dev/tcp/127.0.0.1/9466; printf "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n" >&3; cat <&3' | grep '^ready'
# On a terminal it draws itself anew.
script --quiet --flush --command 'pushmaild status --watch' /root/screens > /dev/null < /dev/null &
watcher=$!
drawn_thrice() { [ "$(tr '\033' '\n' < /root/screens | grep -c '^\[Hpushmaild')" -ge 3 ]; }
eventually drawn_thrice
kill "$watcher"
pushmaild doctor jesse

# Dovecot is asked who there is, with the lines of the document that lets the daemon in. `sudo` is for people.
sed -i 's/^passwd = .*/doveadm = { command = "doveadm", refresh = "1h" }/' /etc/pushmaild/pushmaild.toml
systemctl reload pushmaild
not_let_in() { journalctl --no-pager -u pushmaild | grep 'the map of mailboxes cannot be read.*group = pushmaild'; }
eventually not_let_in
sed -n '/^sudo tee .*99-pushmaild.conf/,/^```$/p' /root/install-linux.md | grep -v '^```' | sed 's/^sudo //' > /root/let-in
grep auth-userdb /root/let-in
sh -eux /root/let-in
# A user with mbox, and one without a Maildir.
useradd --create-home kim
echo 'maria::2000:2000::/home/maria::userdb_mail=mbox:~/mail' > /etc/dovecot/mbox-users
cat > /etc/dovecot/conf.d/98-mbox.conf << 'DOVECOT'
userdb {
  driver = passwd-file
  args = /etc/dovecot/mbox-users
}
DOVECOT
systemctl restart dovecot
systemctl restart pushmaild
pushmaild users
# With the daemon's eyes, as the document says.
systemd-run --quiet --pipe --wait -p User=pushmaild -p AmbientCapabilities=CAP_DAC_READ_SEARCH pushmaild check
: > /root/pushes
deliver jesse
eventually grep '"user":"jesse"' /root/pushes
pushmaild doctor jesse

# What may be broken, and what `doctor` says.
doctor_finds jese map 'did you mean .jesse.'
doctor_finds maria map 'mbox'
doctor_finds kim Maildir 'there is no Maildir at ./home/kim/Maildir.'
mv /home/jesse/Maildir/new /home/jesse/Maildir/elsewhere
ln -s elsewhere /home/jesse/Maildir/new
doctor_finds jesse Maildir 'is a symbolic link'
rm /home/jesse/Maildir/new
mv /home/jesse/Maildir/elsewhere /home/jesse/Maildir/new
systemctl reload pushmaild
eventually pushmaild doctor jesse
chown root:root /var/lib/pushmaild/push_notify
chmod 600 /var/lib/pushmaild/push_notify
deliver jesse
eventually doctor_finds jesse socket 'the daemon cannot send: Permission denied'
kill "$receiver"
rm -f /var/lib/pushmaild/push_notify
doctor_finds jesse socket 'No such file or directory'
receive
eventually pushmaild doctor jesse
systemctl stop pushmaild
doctor_finds jesse daemon 'systemctl start pushmaild'
systemctl start pushmaild

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
