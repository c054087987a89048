//! What the clients are told, and what they say.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use super::{TOKEN, TOPIC};
use crate::support::Apns;

/// A good push, to be made worse.
#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<String>,
    pub(super) payload: String,
}

impl Push {
    pub(super) fn new() -> Self {
        Self::to(TOKEN)
    }

    pub(super) fn to(token: &str) -> Self {
        let path = format!("/3/device/{token}");
        Self { method: "POST", path, headers: Vec::new(), payload: r#"{"aps":{"account-id":"1"}}"#.into() }
    }

    pub(super) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    pub(super) fn payload_of(mut self, bytes: usize) -> Self {
        self.payload = "x".repeat(bytes);
        self
    }

    /// With what a provider token always needs.
    pub(super) fn with_token(self, jwt: &str) -> Self {
        self.header("apns-topic", TOPIC).header("authorization", &format!("bearer {jwt}"))
    }
}

/// An answer as curl shows it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.headers.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// The reason; empty where there is no body.
    pub(super) fn reason(&self) -> String {
        if self.body.is_empty() {
            return String::new();
        }
        self.json()["reason"].as_str().expect("a refusal has a reason").to_owned()
    }
}

const END: &str = "\n--end of answer--\n";

/// curl, with one credential and one connection for all pushes, in order.
pub(super) fn curl(apns: &Apns, certificate: Option<&str>, pushes: &[Push]) -> Vec<Answer> {
    let run = curl_raw(apns, certificate, pushes);
    assert!(run.status.success(), "curl: {run:?}");
    let text = String::from_utf8(run.stdout).expect("answers are text");
    let answers: Vec<Answer> = text.split_terminator(END).map(parse).collect();
    assert_eq!(answers.len(), pushes.len(), "an answer for each push: {text}");
    answers
}

/// The same for pushes that may fail.
pub(super) fn curl_raw(apns: &Apns, certificate: Option<&str>, pushes: &[Push]) -> Output {
    let mut child = spawn(&["curl", "-sS", "--config", "-"]);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(config(apns, certificate, pushes).as_bytes()).expect("curl reads its configuration");
    drop(stdin);
    child.wait_with_output().expect("a child can be waited for")
}

fn config(apns: &Apns, certificate: Option<&str>, pushes: &[Push]) -> String {
    let blocks = pushes.iter().map(|push| {
        let mut block = vec![
            format!("url = {:?}", apns.endpoint() + &push.path),
            format!("request = {}", push.method),
            format!("cacert = {:?}", apns.file("ca.pem")),
            format!("data-binary = {:?}", push.payload),
            format!("write-out = {END:?}"),
            "max-time = 30".to_owned(),
            "http2\ninclude".to_owned(),
        ];
        block.extend(certificate.map(|name| format!("cert = {:?}", apns.file(name))));
        block.extend(push.headers.iter().map(|header| format!("header = {header:?}")));
        block.join("\n")
    });
    blocks.collect::<Vec<_>>().join("\nnext\n")
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = status.strip_prefix("HTTP/2 ").and_then(|status| status.trim().parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status of HTTP/2: {text}"));
    Answer { status, headers: headers.to_owned(), body: body.to_owned() }
}

/// A push that has begun and whose payload the test holds back: a connection to do something to.
pub(super) struct Held {
    child: Child,
}

impl Held {
    /// Returns when the simulator has read the headers.
    pub(super) fn begin(apns: &Apns) -> Self {
        let taken = apns.stats().taken;
        let (ca, certificate) = (apns.file("ca.pem"), apns.file("client.pem"));
        let url = format!("{}/3/device/{TOKEN}", apns.endpoint());
        // An upload of what comes on stdin.
        let upload = ["--upload-file", ".", "--request", "POST", "--max-time", "30", url.as_str()];
        let curl = ["curl", "-sS", "-v", "--http2", "--cacert", &ca, "--cert", &certificate];
        let child = spawn(&[&curl[..], &upload].concat());
        crate::support::eventually("the request is taken", || (apns.stats().taken > taken).then_some(()));
        Self { child }
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends the payload. `true`: the answer was 200. And what curl said.
    pub(super) fn end(mut self) -> (bool, String) {
        let mut stdin = self.child.stdin.take().expect("stdin is piped");
        // An error: curl has given up already.
        let _ = stdin.write_all(b"{}");
        drop(stdin);
        let output = self.child.wait_with_output().expect("a child can be waited for");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success() && text.contains("< HTTP/2 200"), text)
    }
}

/// nghttp, with so many pushes at once on one connection. What it says, frame by frame.
pub(super) fn nghttp(apns: &Apns, pushes: usize, arguments: &[&str]) -> String {
    nghttp_as(apns, Some("client.pem"), pushes, arguments)
}

pub(super) fn nghttp_as(apns: &Apns, certificate: Option<&str>, pushes: usize, arguments: &[&str]) -> String {
    let pem = certificate.map(|name| apns.file(name));
    let (payload, many) = (payload(apns), pushes.to_string());
    let url = format!("{}/3/device/{TOKEN}", apns.endpoint());
    let mut words = vec!["nghttp", "-v", "-n", "-t", "30", "-d", &payload, "-m", &many];
    words.extend(pem.iter().flat_map(|pem| ["--cert", pem, "--key", pem]));
    words.extend_from_slice(arguments);
    words.push(&url);
    let output = run(&words);
    // Its exit status is 0 whatever happens to requests.
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The file with a payload.
pub(super) fn payload(apns: &Apns) -> String {
    let path = apns.file("payload.json");
    fs::write(&path, r#"{"aps":{"account-id":"1"}}"#).expect("a file can be written");
    path
}

/// Runs a command to its end.
pub(super) fn run(words: &[&str]) -> Output {
    let mut child = spawn(words);
    drop(child.stdin.take());
    child.wait_with_output().expect("a child can be waited for")
}

fn spawn(words: &[&str]) -> Child {
    Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{} cannot be started: {e}", words[0]))
}
