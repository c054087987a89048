//! A real browser: Debian's chromium without a screen, spoken to in its `DevTools` protocol over a pipe.
//!
//! Messages are JSON with a NUL behind each: commands with a number go in on descriptor 3, answers with that number and events come out
//! on descriptor 4. <https://chromedevtools.github.io/devtools-protocol/> has the words.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PATIENCE;

/// A browser is slow to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// One browser with one page. It ends, with all of its processes and files, with this value.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    last: u64,
    /// What the page, or the browser about the page, complained of.
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("pmd-").tempdir().expect("a temporary directory");
        let mut words = vec!["--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-quic"];
        words.extend(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
        words.extend(["--disable-sync", "--disable-default-apps", "--disable-extensions", "--mute-audio"]);
        words.extend(["--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"]);
        // Nothing but this machine: every other name leads nowhere.
        words.push("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost");
        if geteuid().is_root() {
            words.push("--no-sandbox");
        }
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .args(words)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh can be started");
        let commands = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Ok(message) = message else { return };
                let message = serde_json::from_slice(&message).expect("the browser speaks JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            session: String::new(),
            last: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let targets = browser.call_within(START, "Target.getTargets", json!({}));
        let targets = targets["targetInfos"].as_array().expect("a list").clone();
        let page = targets.iter().find(|target| target["type"] == "page").expect("there is a page");
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().expect("a name").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Opens a page and waits until it is there.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        let there = self.call("Page.navigate", json!({ "url": url }));
        assert_eq!(there["errorText"], Value::Null, "{url}");
        self.event("Page.loadEventFired");
    }

    /// What an expression is worth in the page.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", parameters);
        assert_eq!(result["exceptionDetails"], Value::Null, "{expression}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression) != Value::Bool(true) {
            let text = "document.body.innerText";
            assert!(Instant::now() < deadline, "not true: {expression}\n{}", self.evaluate(text));
            super::pause();
        }
    }

    /// Dark or light, as the system would say.
    pub(crate) fn set_dark(&mut self, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// The size of the window, in the style sheet's pixels.
    pub(crate) fn set_size(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    pub(crate) fn set_scripts(&mut self, are_run: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !are_run }));
    }

    /// What is seen, as a PNG file.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let png = BASE64_STANDARD.decode(shot["data"].as_str().expect("text")).expect("base64");
        fs::write(path, png).expect("the picture can be written");
    }

    /// Errors in the console, exceptions, and violations of the page's policy, so far.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // Everything that happened before this has been told when this is answered.
        self.evaluate("0");
        std::mem::take(&mut self.complaints)
    }

    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.call_within(PATIENCE, method, parameters)
    }

    #[track_caller]
    fn call_within(&mut self, patience: Duration, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let number = self.last;
        let mut command = json!({ "id": number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        let sent = self.commands.write_all(format!("{command}\0").as_bytes());
        sent.unwrap_or_else(|e| panic!("the browser has ended: {e}\nhint: apt-get install chromium"));
        let answer = self.next(patience, method, |message| message["id"] == number);
        assert_eq!(answer["error"], Value::Null, "{method}");
        answer["result"].clone()
    }

    #[track_caller]
    fn event(&mut self, method: &str) {
        self.next(PATIENCE, method, |message| message["method"] == method);
    }

    #[track_caller]
    fn next(&mut self, patience: Duration, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(message) => {
                    self.note(&message);
                    if is_it(&message) {
                        return message;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("the browser does not answer: {what}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the browser has ended: {what}\nhint: apt-get install chromium")
                }
            }
        }
    }

    fn note(&mut self, message: &Value) {
        let parameters = &message["params"];
        let is_complaint = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                parameters["type"] == "error" || parameters["type"] == "warning"
            }
            Some("Log.entryAdded") => {
                matches!(parameters["entry"]["level"].as_str(), Some("error" | "warning"))
            }
            _ => false,
        };
        if is_complaint {
            self.complaints.push(parameters.to_string());
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The group that was made for it: the browser has children of its own.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
