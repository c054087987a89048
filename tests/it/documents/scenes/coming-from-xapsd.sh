two_users
certificate /etc/pushmaild/apns.pem
configuration_of docs/coming-from-xapsd.md
install -D -m 644 tests/transcripts/import/xapsd-database.json /var/lib/xapsd/database.json
