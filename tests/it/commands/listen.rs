//! `pushmaild listen`: the other end of the socket.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{keys, recorded};
use crate::support::{PATIENCE, Receiver, Run, Site, pushmaild};

const ACCOUNT: &str = "0715A26B-CA09-4730-A419-793000CA982E";
const TOKEN: &str = "2918390218931890821908309283098109381029309829018310983092892829";

/// A running `pushmaild listen`. Dropped, it is killed.
struct Listener {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Listener {
    #[track_caller]
    fn start(socket: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pushmaild"))
            .arg("listen")
            .arg(socket)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = lines(child.stdout.take().expect("stdout is piped"));
        let stderr = lines(child.stderr.take().expect("stderr is piped"));
        let listener = Self { child, stdout, stderr };
        let line = listener.stderr.recv_timeout(PATIENCE).expect("it says that it listens");
        assert!(line.starts_with("listening for "), "{line}");
        listener
    }

    #[track_caller]
    fn next(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a record is printed")
    }

    #[track_caller]
    fn next_json(&self) -> Value {
        let line = self.next();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}"))
    }

    #[track_caller]
    fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a child can be signalled");
        // The end of its output is the end of the process, short of the last few instructions.
        while self.stdout.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody reads any more when the test is over.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn send(record: &[u8], socket: &Path) {
    let sender = UnixDatagram::unbound().expect("a socket can be had");
    sender.send_to(record, socket).expect("the listener takes it");
}

#[track_caller]
fn assert_line(line: &Value, expected: Value) {
    let time = line["time"].as_str().expect("each line has a time");
    // RFC 3339 with microseconds, in UTC.
    assert!(time.len() == "2026-01-02T03:04:05.123456Z".len() && time.ends_with('Z'), "{time}");
    let Value::Object(mut expected) = expected else { panic!("not an object") };
    expected.insert("time".to_owned(), line["time"].clone());
    assert_eq!(*line, Value::Object(expected));
}

#[test]
#[cfg(target_endian = "little")]
fn each_recorded_datagram_is_one_object() {
    let site = Site::new();
    let listener = Listener::start(&site.socket(), &["--json"]);
    let notify = |dialect: &str, bytes: usize| json!({ "dialect": dialect, "message": "notify", "user": "jesse", "bytes": bytes });
    let register = |dialect: &str| {
        json!({
            "dialect": dialect, "message": "register", "user": "jesse", "bytes": 1680,
            "account_id": ACCOUNT, "device_token": TOKEN, "subtopic": "com.apple.mobilemail",
        })
    };
    for (name, expected) in [
        ("osx-10.8-notify", notify("osx-10.8", 1680)),
        ("osx-10.8-register", register("osx-10.8")),
        (
            "osx-10.8-create",
            json!({ "dialect": "osx-10.8", "message": "create", "user": "jesse", "bytes": 1680 }),
        ),
        ("osx-10.7-notify", notify("osx-10.7", 1680)),
        ("osx-10.7-register", register("osx-10.7")),
        ("osx-10.7-ilp32-notify", notify("osx-10.7-32", 1672)),
        ("short-notify", notify("short", 7)),
    ] {
        send(&recorded(name), &site.socket());
        assert_line(&listener.next_json(), expected);
    }
}

#[test]
fn each_recorded_connection_is_one_object() {
    let site = Site::new();
    let listener = Listener::start(&site.socket(), &["--stream", "--json"]);
    for (name, cut, expected) in [
        (
            "argon-notify",
            0,
            json!({
                "dialect": "argon", "message": "notify", "user": "jesse", "bytes": 1672, "mailbox": "INBOX",
            }),
        ),
        (
            "argon-register",
            0,
            json!({
                "dialect": "argon", "message": "register", "user": "jesse", "bytes": 1672,
                "account_id": ACCOUNT, "device_token": TOKEN, "subtopic": "com.apple.mobilemail",
            }),
        ),
        (
            "argon-subscribe",
            0,
            json!({
                "dialect": "argon", "message": "subscribe", "user": "jesse", "bytes": 1672,
                "account_id": ACCOUNT, "device_token": TOKEN, "mailbox": "Sent Messages",
            }),
        ),
        // As argon's own tests send it.
        (
            "argon-notify",
            1,
            json!({
                "dialect": "argon", "message": "notify", "user": "jesse", "bytes": 1671, "mailbox": "INBOX",
            }),
        ),
    ] {
        let record = recorded(name);
        let mut connection = UnixStream::connect(site.socket()).expect("the listener accepts");
        // In two pieces, as a stream may bring it.
        let (head, tail) = record[..record.len() - cut].split_at(700);
        connection.write_all(head).expect("the listener reads");
        connection.write_all(tail).expect("the listener reads");
        drop(connection);
        assert_line(&listener.next_json(), expected);
    }
}

/// For people: the same without JSON, and without a way for a name to forge a line.
#[test]
fn people_read_one_line_a_record() {
    let site = Site::new();
    let listener = Listener::start(&site.socket(), &[]);
    send(&recorded("osx-10.8-notify"), &site.socket());
    let line = listener.next();
    assert!(line.contains("  notify    jesse") && line.ends_with("(osx-10.8, 1680 bytes)"), "{line}");

    let mut record = recorded("osx-10.8-notify");
    record[16..26].copy_from_slice(b"jesse\nroot");
    send(&record, &site.socket());
    let line = listener.next();
    assert!(line.contains("jesse\\nroot"), "{line}");
}

#[test]
fn what_is_no_record_is_refused_and_the_next_one_read() {
    let site = Site::new();
    let listener = Listener::start(&site.socket(), &["--json"]);
    let mut unknown_type = recorded("osx-10.8-notify");
    unknown_type[0] = b'9';
    let mut not_text = recorded("osx-10.8-notify");
    not_text[16] = 0xff;
    for record in [&b"hello"[..], &[], &[0; 1680], &[b'3'; 5000], &unknown_type, &not_text] {
        send(record, &site.socket());
        let line = listener.stderr.recv_timeout(PATIENCE).expect("a refusal is said");
        assert!(line.contains("refused: "), "{line}");
    }
    send(&recorded("osx-10.8-notify"), &site.socket());
    assert_eq!(listener.next_json()["user"], "jesse");
}

#[track_caller]
fn assert_refused(run: &Run, why: &str) {
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.starts_with("error: ") && run.stderr.contains(why), "not {why}: {run:?}");
    assert!(run.stderr.contains("\nhint: "), "{run:?}");
}

fn listen(socket: &Path, options: &[&str]) -> Run {
    let words = ["listen".as_ref(), socket.as_os_str()];
    pushmaild(words.into_iter().chain(options.iter().map(AsRef::as_ref)))
}

/// A listener beside a receiver, or beside another listener, would take its records away.
#[test]
fn a_path_that_somebody_has_is_refused() {
    let site = Site::new();
    let receiver = site.receiver();
    for options in [&[][..], &["--stream"]] {
        assert_refused(&listen(receiver.path(), options), "somebody listens there");
    }
    send(&recorded("osx-10.8-notify"), receiver.path());
    receiver.expect("jesse");

    let other = site.path("other");
    let listener = Listener::start(&other, &["--stream", "--json"]);
    for options in [&[][..], &["--stream"]] {
        assert_refused(&listen(&other, options), "somebody listens there");
    }
    drop(listener);
}

#[test]
fn a_path_that_is_no_socket_is_refused() {
    let site = Site::new();
    let file = site.path("file");
    fs::write(&file, "precious").expect("a file can be written");
    assert_refused(&listen(&file, &[]), "is no socket");
    assert_eq!(fs::read(&file).expect("it is still there"), b"precious");

    assert_refused(&listen(site.dir(), &[]), "is no socket");
    // A link to a socket is not the socket, and is not removed in its place.
    let mut receiver = Receiver::bind(site.path("target"));
    receiver.crash();
    std::os::unix::fs::symlink("target", site.path("link")).expect("a link can be made");
    assert_refused(&listen(&site.path("link"), &[]), "is no socket");
    assert!(site.path("target").exists());
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let site = Site::new();
    assert_refused(&listen(&site.path("missing/socket"), &[]), "cannot bind");
    assert_refused(&listen(&site.path("x".repeat(120)), &[]), "cannot bind");
}

#[test]
fn a_stale_socket_is_replaced() {
    let site = Site::new();
    site.receiver().crash();
    let listener = Listener::start(&site.socket(), &["--json"]);
    send(&recorded("short-notify"), &site.socket());
    assert_eq!(listener.next_json()["dialect"], "short");

    // A listener that was killed leaves one, of the other type.
    drop(listener);
    assert!(site.socket().exists());
    let listener = Listener::start(&site.socket(), &["--stream", "--json"]);
    let mut connection = UnixStream::connect(site.socket()).expect("the listener accepts");
    connection.write_all(&recorded("argon-notify")).expect("the listener reads");
    drop(connection);
    assert_eq!(listener.next_json()["dialect"], "argon");
}

#[test]
fn the_socket_is_closed_to_others_and_removed_at_the_end() {
    let site = Site::new();
    for options in [&[][..], &["--stream"]] {
        let listener = Listener::start(&site.socket(), options);
        let found = fs::metadata(site.socket()).expect("the socket is there");
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o660);
        assert!(listener.stop().success());
        assert!(!site.socket().exists(), "the socket is removed");
    }
}

/// Somebody bound the path anew meanwhile: that socket is not ours to remove.
#[test]
fn a_socket_of_somebody_else_is_left_alone() {
    let site = Site::new();
    let listener = Listener::start(&site.socket(), &[]);
    fs::remove_file(site.socket()).expect("the socket can be removed");
    let receiver = site.receiver();
    assert!(listener.stop().success());
    send(&recorded("osx-10.8-notify"), receiver.path());
    receiver.expect("jesse");
}

/// The daemon and the listener, as the demonstration in the README has them.
#[test]
fn the_daemon_pushes_to_a_listener() {
    let site = Site::new();
    let jesse = site.maildir("jesse@example.org");
    let listener = Listener::start(&site.socket(), &["--json"]);
    let _daemon = site.start(&site.config());
    jesse.deliver();
    let line = listener.next_json();
    assert_eq!(line["user"], "jesse@example.org");
    assert_eq!(keys(&line), ["bytes", "dialect", "message", "time", "user"]);
}
