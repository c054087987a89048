# People with an account, and what pushnotify.pl has stored of them.
for user in stefan jesse; do
    useradd --create-home --uid "$((1700 + ${#user}))" "$user"
    for folder in cur new tmp; do runuser -u "$user" -- mkdir -p "/home/$user/Maildir/$folder"; done
done
certificate /etc/pushmaild/apns.pem
configuration_of docs/coming-from-pushnotify.md
mkdir -p /run/dovecot
install -D -m 600 tests/transcripts/import/pushnotify-devices /var/db/pushnotify/devices
