//! Clients of the control socket that are slow, wrong or not allowed to ask.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::{JESSE, json};
use crate::support::{PATIENCE, Site, pushmaild_in};

fn connect(site: &Site) -> UnixStream {
    let stream = UnixStream::connect(site.path("control.sock")).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    stream
}

/// What the daemon answers to these bytes.
fn answer(site: &Site, question: &[u8]) -> String {
    let mut stream = connect(site);
    // The daemon may have ended the connection before all of it was written.
    let _ = stream.write_all(question);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("no answer: {error}"),
    }
}

#[test]
fn garbage_is_refused_and_disturbs_nobody() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let config = site.config();
    let daemon = site.start(&config);
    let long = vec![b'a'; 1 << 20];
    let questions: [&[u8]; 8] = [
        b"\n",
        b"quit\n",
        b"status now\n",
        b"user \n",
        b"\xff\xfe\x00\n",
        b"no end of the line",
        &long,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for question in questions {
        let answer = answer(&site, question);
        // A client that writes on and on is cut off, and may miss what it is told.
        if question.len() < 2000 {
            let document: Value = serde_json::from_str(&answer).expect("an answer is JSON");
            assert!(document["error"].as_str().is_some_and(|error| error.contains("ask for")), "{document}");
        }
    }
    assert_eq!(answer(&site, b"user nobody@example.org\n").trim(), "null");
    jesse.deliver();
    receiver.expect(JESSE);
    assert_eq!(json(&config)["pushes"][0]["user"], JESSE);
    daemon.stop();
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let site = Site::new();
    let config = site.config();
    let _daemon = site.start(&config);
    // More than are served at a time. Each of them loses its place after two seconds.
    let silent: Vec<_> = (0..40).map(|_| connect(&site)).collect();
    assert_eq!(json(&config)["ready"], true);
    drop(silent);
}

#[test]
fn a_client_that_never_reads_costs_a_place_for_a_while_and_no_more() {
    let site = Site::new();
    // So that the answer does not fit into the socket's buffers.
    let users: Vec<_> = (0..3000).map(|number| format!("u{number} = \"/nowhere/{number:0>200}\"")).collect();
    let config = site.config().set_raw("mailboxes.users", &format!("{{ {} }}", users.join(", ")));
    let receiver = site.receiver();
    let jesse = site.maildir(JESSE);
    let _daemon = site.start(&config);
    let greedy: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(&site);
            stream.write_all(b"users\n").expect("the question fits");
            stream
        })
        .collect();
    jesse.deliver();
    receiver.expect(JESSE);
    let status = json(&config);
    assert_eq!(status["pushes"][0]["user"], JESSE);
    assert_eq!(status["users"].as_array().expect("a list").len(), 3001, "all of them, in pieces");
    drop(greedy);
}

#[test]
fn another_user_is_not_answered() {
    let site = Site::new();
    let config = site.config();
    let _daemon = site.start(&config);
    // As if the modes had been opened by mistake.
    let modes = [(site.dir().to_owned(), 0o755), (site.path("control.sock"), 0o666)];
    for (path, mode) in &modes {
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).expect("the mode can be set");
    }
    let file = config.path().to_str().expect("the path is text");
    let program = site.path("pushmaild");
    fs::copy(env!("CARGO_BIN_EXE_pushmaild"), &program).expect("the program can be copied");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the mode can be set");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let shell = ["sh", "-c", "exec \"$0\" status -c \"$2\"", program.to_str().expect("the path is text")];
    let run = pushmaild_in(&[&nobody[..], &shell[..]].concat(), [file]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("only root") && run.stderr.contains("hint: ask as root"), "{run:?}");

    // A member of the socket's group is.
    let group = ["setpriv", "--reuid=65534", "--regid=0", "--clear-groups"];
    let run = pushmaild_in(&[&group[..], &shell[..]].concat(), [file]);
    assert_eq!(run.code, 0, "{run:?}");
}
