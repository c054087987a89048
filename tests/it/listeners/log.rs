//! What the log has, and what it must never have.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use pushmaild::proto::push_notify::Dialect;

use super::{Setup, TOKEN, http, ok, records, register_line};

/// What the listeners' thread logs.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_token_is_logged_whole_whatever_is_asked() {
    let log = Log::default();
    let mut setup = Setup::new();
    setup.log = Some(log.clone());
    let mut server = setup.start();
    let (mut line, mut client) = (server.line(), server.http());
    assert_eq!(line.send(register_line("jo")).line(), ok());
    assert_eq!(http::answer(client.send(http::register("jo"))).0, 200);
    server.datagram(&records::register("jo", Dialect::Osx108));
    server.datagram(&records::register("jo", Dialect::Osx108)[..900]);
    server.stream().send(records::register("jo", Dialect::Argon)).rest();
    let half = records::register("jo", Dialect::Argon);
    server.stream().send(&half[..1000]).end().rest();
    for bad in [
        register_line("jo").replace('=', ":"),
        register_line("jo").replace("REGISTER ", "REGISTER"),
        register_line("jo").replace(TOKEN, &format!("{TOKEN}x")),
        register_line("jo").replace("aps-subtopic", "aps-device-token"),
    ] {
        assert!(line.send(bad).line().starts_with("ERROR "));
    }
    let (kept, cut) = (http::register("jo"), http::register("jo").replace("\"Username\"", "+Username+"));
    assert_eq!(http::answer(client.send(cut)).0, 400);
    client.send(kept.replace("POST /register", &format!("POST /{TOKEN}")));
    assert_eq!(http::answer(&mut client).0, 404);
    client.send(kept.replace("Host: x", TOKEN)).rest();
    server.stop();
    let text = log.text();
    assert!(text.contains("xaps-socket took a registration for jo from uid "), "{text}");
    assert!(
        text.contains("WARN")
            && text.contains("xaps-http refused a registration from a client of the port: "),
        "{text}"
    );
    assert!(!text.contains(&TOKEN[..16]), "{text}");
}

#[test]
fn a_thousand_refusals_are_ten_lines() {
    let log = Log::default();
    let mut setup = Setup::new();
    setup.log = Some(log.clone());
    let mut server = setup.start();
    let mut line = server.line();
    line.send("nonsense\n".repeat(1000));
    for _ in 0..1000 {
        line.line();
    }
    server.datagram(b"nonsense");
    server.stop();
    let text = log.text();
    let lines = |on| text.lines().filter(|line| line.contains(on) && line.contains("WARN")).count();
    assert_eq!((lines("xaps-socket"), lines("push-notify-datagram")), (10, 1), "{text}");
}
