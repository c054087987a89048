two_users
echo 'mail_location = maildir:/var/vmail/%d/%n/Maildir' > /etc/dovecot/conf.d/99-vmail.conf
certificate apns.pem
