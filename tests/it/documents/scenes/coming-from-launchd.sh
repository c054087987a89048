configuration_of docs/coming-from-launchd.md
receiver /var/dovecot/push_notify
