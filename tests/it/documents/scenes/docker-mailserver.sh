# What the image and the recipe have: mail, the folder of the configuration, and what xapsd has stored.
rm -rf /var/mail
for user in jo anna; do
    mkdir -p /var/mail/example.org/$user/cur /var/mail/example.org/$user/new /var/mail/example.org/$user/tmp
done
mkdir -p /tmp/docker-mailserver/xaps /etc/supervisor/conf.d /etc/dovecot/conf.d /var/mail-state/lib-xapsd
certificate /tmp/docker-mailserver/xaps/apns.pem
cp tests/transcripts/import/xapsd-database.json /var/mail-state/lib-xapsd/database.json
configuration_of docs/docker-mailserver.md
mv /etc/pushmaild/pushmaild.toml /tmp/docker-mailserver/xaps/pushmaild.toml
touch /tmp/docker-mailserver/xaps/pushmaild.conf /tmp/docker-mailserver/xaps/95-xaps.conf
