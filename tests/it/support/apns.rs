//! Apple's push service, simulated: `examples/apns-simulator` as a child process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{PATIENCE, example};

/// What the simulator says when it is ready, before and after its endpoint.
const READY: (&str, &str) = ("listening on https://", "; credentials in ");

/// A request as the simulator answered it, with Apple's names for the headers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ApnsRequest {
    /// Counts from 1.
    pub(crate) connection: u64,
    pub(crate) stream: u32,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) push_type: Option<String>,
    pub(crate) priority: Option<String>,
    pub(crate) expiration: Option<String>,
    pub(crate) collapse_id: Option<String>,
    /// As the client sent it.
    pub(crate) apns_id: Option<String>,
    /// JSON, or else a string.
    pub(crate) payload: Value,
    /// `certificate`, `token` or `none`.
    pub(crate) authentication: String,
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    /// When the simulator took it, before it was answered; to the microsecond.
    #[serde(deserialize_with = "time")]
    pub(crate) time: SystemTime,
    /// When the test saw it.
    #[serde(skip, default = "Instant::now")]
    pub(crate) at: Instant,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
}

/// What the simulator has counted since its start.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ApnsStats {
    pub(crate) connections: u64,
    pub(crate) open: u64,
    pub(crate) closed_at_once: u64,
    pub(crate) handshakes_failed: u64,
    /// Requests that were read; their answers may still be to come.
    pub(crate) taken: u64,
    /// Requests that were answered.
    pub(crate) requests: u64,
    pub(crate) answered_200: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) refused_streams: u64,
    pub(crate) not_processed: u64,
    pub(crate) cut: u64,
    /// Distinct ones among the requests answered with 200, as are the ids.
    pub(crate) tokens: u64,
    pub(crate) apns_ids: u64,
    pub(crate) provider_tokens: u64,
}

/// The simulator under a test's command. Dropped, it is killed; its stderr is shown when the test fails.
///
/// ```ignore
/// let mut apns = Apns::start(site.path("apns"));
/// // … push to apns.endpoint() with apns.file("client.pem") …
/// let first = apns.next();
/// assert_eq!((first.token.as_deref(), first.status), (Some("00aabb"), 200));
///
/// apns.tell("answer 503 ServiceUnavailable count 5");
/// apns.wait_for(10);
/// assert_eq!(apns.stats().answered_200, 5);
/// ```
pub(crate) struct Apns {
    child: Child,
    dir: PathBuf,
    arguments: Vec<String>,
    address: SocketAddr,
    output: Arc<Output>,
    /// So many requests were returned by `next`.
    read: usize,
}

impl Apns {
    /// Starts a simulator with its credentials in `dir`, on a free port, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(dir: impl Into<PathBuf>) -> Self {
        Self::start_with(dir, &[])
    }

    /// The same with more arguments, such as `--topic`.
    #[track_caller]
    pub(crate) fn start_with(dir: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let dir = dir.into();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (child, output, address) = spawn(&dir, &arguments, "127.0.0.1:0");
        Self { child, dir, arguments, address, output, read: 0 }
    }

    /// Kills it, and starts another with the same credentials on the same port. What the old one was told and
    /// has counted is forgotten, its requests too.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Kills it: connections break, and dials are refused until [`start_again`](Self::start_again).
    pub(crate) fn kill(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// After [`kill`](Self::kill).
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        (self.child, self.output, _) = spawn(&self.dir, &self.arguments, &self.address.to_string());
        self.read = 0;
    }

    /// Stops it as SIGTERM does.
    #[track_caller]
    pub(crate) fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the simulator can be signalled");
        self.child.wait().expect("a child can be waited for")
    }

    /// The folder with the credentials.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file in it, such as `ca.pem`, `client.pem` or `AuthKey.p8`.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("the paths of tests are UTF-8").to_owned()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:PORT`
    pub(crate) fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Gives a command, and returns the answer. It is done when this returns.
    #[track_caller]
    pub(crate) fn tell(&self, command: &str) -> Value {
        let answer = self.ask(command);
        assert!(answer.get("error").is_none(), "the simulator refuses `{command}`: {answer}");
        answer
    }

    /// The same for a command that may be wrong.
    #[track_caller]
    pub(crate) fn ask(&self, command: &str) -> Value {
        let mut socket =
            UnixStream::connect(self.dir.join("control")).expect("the simulator can be spoken to");
        socket.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
        writeln!(socket, "{command}").expect("a command can be sent");
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).expect("the simulator answers");
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("no JSON ({e}): {answer}"))
    }

    #[track_caller]
    pub(crate) fn stats(&self) -> ApnsStats {
        let stats = self.tell("stats");
        serde_json::from_value(stats.clone()).unwrap_or_else(|e| panic!("no stats ({e}): {stats}"))
    }

    /// Waits for the next request that was answered, after the one that was returned last.
    #[track_caller]
    pub(crate) fn next(&mut self) -> ApnsRequest {
        let read = self.read + 1;
        let request = self.nth(read);
        self.read = read;
        request
    }

    /// Waits for the next request, for so long at most.
    pub(crate) fn next_within(&mut self, within: Duration) -> Option<ApnsRequest> {
        let request = self.output.wait(within, |requests| requests.get(self.read).cloned())?;
        self.read += 1;
        Some(request)
    }

    /// Waits for the n-th request since the start, counted from 1.
    #[track_caller]
    pub(crate) fn nth(&self, n: usize) -> ApnsRequest {
        self.wait_for(n).swap_remove(n - 1)
    }

    /// Waits until there have been `count` requests since the start, and returns these.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<ApnsRequest> {
        let found = self.output.wait(PATIENCE, |requests| requests.get(..count).map(<[_]>::to_vec));
        found
            .unwrap_or_else(|| panic!("{count} requests not within {PATIENCE:?}, but: {:?}", self.received()))
    }

    /// Waits for the first request since the start that is like this, and returns all up to it.
    #[track_caller]
    pub(crate) fn wait_until(&self, like: impl Fn(&ApnsRequest) -> bool) -> Vec<ApnsRequest> {
        let found = self
            .output
            .wait(PATIENCE, |requests| requests.iter().position(&like).map(|at| requests[..=at].to_vec()));
        found.unwrap_or_else(|| panic!("no such request within {PATIENCE:?}, but: {:?}", self.received()))
    }

    /// Each device that was pushed to, and when the simulator took the last request that it answered with 200.
    pub(crate) fn last_pushes(&self) -> BTreeMap<String, SystemTime> {
        let mut last = BTreeMap::new();
        for request in self.output.lock().requests.iter().filter(|request| request.status == 200) {
            let time = last.entry(request.token.clone().unwrap_or_default()).or_insert(request.time);
            *time = request.time.max(*time);
        }
        last
    }

    /// All requests since the start that the test has seen by now. Says nothing about what is still to come.
    pub(crate) fn received(&self) -> Vec<ApnsRequest> {
        self.output.lock().requests.clone()
    }
}

impl Drop for Apns {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test")]
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("---- the APNs simulator ----\n{}", self.output.lock().stderr);
        }
    }
}

#[track_caller]
fn spawn(dir: &Path, arguments: &[String], listen: &str) -> (Child, Arc<Output>, SocketAddr) {
    let mut child = Command::new(apns_simulator())
        .arg("--dir")
        .arg(dir)
        .args(["--listen", listen])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the simulator can be started");
    let output = Arc::new(Output::default());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::spawn({
        let output = Arc::clone(&output);
        move || output.read_lines(stdout.expect("stdout is piped"))
    });
    thread::spawn({
        let output = Arc::clone(&output);
        move || output.read_stderr(stderr.expect("stderr is piped"))
    });
    let address = output.wait_address();
    let address =
        address.unwrap_or_else(|| panic!("not ready within {PATIENCE:?}: {}", output.lock().stderr));
    (child, output, address)
}

/// What the simulator has written, read by threads of their own.
#[derive(Default)]
struct Output {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    address: Option<SocketAddr>,
    requests: Vec<ApnsRequest>,
    stderr: String,
    ended: bool,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked leaves requests that are as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_lines(&self, stdout: impl Read) {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let mut state = self.lock();
            if let Some(ready) = line.strip_prefix(READY.0) {
                let address = ready.split(READY.1).next().and_then(|address| address.parse().ok());
                state.address = address;
            } else {
                match serde_json::from_str(&line) {
                    Ok(request) => state.requests.push(request),
                    Err(error) => state.stderr.push_str(&format!("a line of no request ({error}): {line}\n")),
                }
            }
            drop(state);
            self.grown.notify_all();
        }
        self.lock().ended = true;
        self.grown.notify_all();
    }

    fn read_stderr(&self, stderr: impl Read) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut state = self.lock();
            state.stderr.push_str(&line);
            state.stderr.push('\n');
        }
    }

    fn wait_address(&self) -> Option<SocketAddr> {
        self.wait_state(PATIENCE, |state| state.address)
    }

    fn wait<T>(&self, within: Duration, find: impl Fn(&[ApnsRequest]) -> Option<T>) -> Option<T> {
        self.wait_state(within, |state| find(&state.requests))
    }

    fn wait_state<T>(&self, within: Duration, find: impl Fn(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        loop {
            let found = find(&state);
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || state.ended || left.is_zero() {
                return found;
            }
            (state, _) = self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The program.
pub(crate) fn apns_simulator() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| example("apns-simulator"))
}
