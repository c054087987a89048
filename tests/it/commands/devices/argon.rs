//! `pushmaild devices import` of argon's store, from a real Redis server.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::{OTHER, TOKEN, config, devices, good, listed};
use crate::support::{Site, eventually};

/// A real Redis server, in a folder of its own.
struct Redis {
    server: Child,
    port: u16,
}

impl Redis {
    fn start(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--requirepass", "s3same/", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server can be started");
        eventually("the server answers", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { server, port }
    }

    /// Says these lines to the server, as one types them.
    fn say(&self, lines: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let lines = format!("AUTH s3same/\n{lines}\nQUIT\n").replace('\n', "\r\n");
        stream.write_all(lines.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(!answer.contains("-ERR"), "{answer}");
        answer
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn imports_argons_redis() {
    let site = Site::new();
    let config = config(&site);
    let redis = Redis::start(site.path("redis"));
    let inbox = "7e33429f656f1e6e9d79b29c3f82c57e";
    let mut lines = format!(
        "SELECT 3\nSADD pn:jo@example.org:device {TOKEN}:ID-1 {OTHER}:ID-2\nSADD pn:a:b:device {OTHER}:ID-3 broken\n\
         SADD pn:jo@example.org:{TOKEN}:ID-1:subscriptions {inbox} 00000000000000000000000000000000\n\
         SET pn:text:device x\nSADD other:jo:device {TOKEN}:ID\n"
    );
    // More than one answer to SCAN.
    for number in 0..2500 {
        writeln!(lines, "SADD pn:user-{number}:device {TOKEN}:ID").unwrap();
    }
    redis.say(lines.trim_end());
    let before = redis.say("SELECT 3\nDBSIZE");
    let url = format!("redis://:s3same%2F@127.0.0.1:{}/3", redis.port);
    let run = good(&config, &["import", &url, "--json"]);
    assert!(!run.stdout.contains("s3same"), "{run:?}");
    let report = run.json();
    assert_eq!(
        (&report["new"], &report["format"], &report["unknown_mailboxes"]),
        (&json!(2503), &json!("argon"), &json!(1))
    );
    assert_eq!(
        report["left_out"],
        json!([
        { "what": "key `pn:text:device`", "why": "the key is not a set" },
                    { "what": "key `pn:a:b:device`", "why": "a member is not `<token>:<account-id>`" },
                ])
    );
    let all = listed(&config);
    let row = |account: &str| all.iter().find(|row| row["account"] == account).unwrap();
    assert_eq!((&row("ID-1")["mailboxes"], &row("ID-3")["user"]), (&json!(["INBOX"]), &json!("a:b")));
    assert_eq!(redis.say("SELECT 3\nDBSIZE"), before, "nothing is written there");
    let run = good(&config, &["import", &url]);
    assert!(
        run.stdout.contains("already there: 2503 registrations\n") && !run.stdout.contains("s3same"),
        "{run:?}"
    );
    assert_eq!(listed(&config), all);

    for (url, said) in [
        (format!("redis://127.0.0.1:{}", redis.port), "NOAUTH"),
        (format!("redis://:wrong@127.0.0.1:{}", redis.port), "WRONGPASS"),
    ] {
        let run = devices(&config, &["import", &url]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains(said) && run.stderr.contains("hint: give the password"), "{run:?}");
        assert!(!run.stderr.contains(":wrong"), "{run:?}");
    }
    let url = format!("redis://127.0.0.1:{}", redis.port);
    drop(redis);
    let run = devices(&config, &["import", &url]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("cannot connect to redis://127.0.0.1"), "{run:?}");
}
