usual_server
mkdir -p /var/backups
# With systemd the daemon would be stopped by now.
before_4() { kill "$daemon" && wait "$daemon" && daemon=''; }
