usual_server
printf '[control]\nhttp = "127.0.0.1:9466"\n' >> /etc/pushmaild/pushmaild.toml
