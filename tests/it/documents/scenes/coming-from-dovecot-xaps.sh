two_users
certificate /etc/pushmaild/apns.pem
configuration_of docs/coming-from-dovecot-xaps.md
install -D -m 644 tests/transcripts/import/xapsd-database.json /var/lib/xapsd/xapsd.json
