two_users
certificate apns.pem
