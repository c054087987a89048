//! The daemon under test: the real binary, as a child process.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::service_manager::ServiceManager;
use super::{Config, PATIENCE, Push, Receiver};

/// How to start a daemon; made by [`Site::launch`](super::Site::launch).
pub(crate) struct Launch {
    dir: PathBuf,
    config: Config,
    write: bool,
    wrapper: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Launch {
    pub(super) fn new(dir: &Path, config: &Config) -> Self {
        Self {
            dir: dir.to_owned(),
            config: config.clone(),
            write: true,
            wrapper: Vec::new(),
            env: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let pair = (key.as_ref().to_owned(), value.as_ref().to_owned());
        self.env.push(pair);
        self
    }

    /// Puts a command before the daemon's, such as `unshare --user`. It must replace itself with
    /// the daemon by exec(3), or signals go astray.
    #[must_use]
    pub(crate) fn wrapped_in<S: AsRef<OsStr>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        let words = command.into_iter().map(|word| word.as_ref().to_owned());
        self.wrapper = words.collect();
        self
    }

    /// Takes the configuration file as it is.
    #[must_use]
    pub(crate) fn without_writing(mut self) -> Self {
        self.write = false;
        self
    }

    /// Writes the configuration, starts the daemon, and waits for its `READY=1`.
    #[track_caller]
    pub(crate) fn start(self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.wait_notify("READY=1");
        daemon
    }

    /// Writes the configuration and starts the daemon, whatever becomes of it.
    #[track_caller]
    pub(crate) fn spawn(self) -> Daemon {
        // Of two daemons on one site each has its own service manager.
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let service_manager = ServiceManager::bind(self.dir.join(format!("notify-{count}")));

        if self.write {
            self.config.write();
        }
        let mut words = self.wrapper;
        words.push(env!("CARGO_BIN_EXE_pushmaild").into());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["run", "-c"])
            .arg(self.config.path())
            .env("NOTIFY_SOCKET", service_manager.path())
            .env("NO_COLOR", "1")
            .env("PUSHMAILD_LOG", "pushmaild=debug")
            // Where the tests themselves run as a service.
            .env_remove("JOURNAL_STREAM")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon can be started");

        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("stderr is piped");
        thread::spawn({
            let log = Arc::clone(&log);
            move || log.fill(stderr)
        });
        Daemon { child, log, service_manager }
    }
}

/// A daemon under test. Dropped, it is killed; its log is shown when the test fails.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Log>,
    service_manager: ServiceManager,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon can be signalled");
    }

    /// Stops the daemon as SIGSTOP does, and waits until it stands still. What happens then waits
    /// in the kernel's queues until [`resume`](Self::resume).
    #[track_caller]
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let pid = Pid::from_child(&self.child);
        let status = waitpid(Some(pid), WaitOptions::UNTRACED);
        let status = status.expect("a child can be waited for");
        let stopped = status.is_some_and(|(_, status)| status.stopped());
        assert!(stopped, "the daemon ended instead: {status:?}");
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for a message to the service manager that has this line, such as `STOPPING=1`, and
    /// returns it whole. Messages before it are skipped and do not come back.
    #[track_caller]
    pub(crate) fn wait_notify(&mut self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Not one long wait: a daemon that has ended will say nothing any more.
            let ended = self.exit_status();
            while let Some(message) = self.service_manager.next(Duration::from_millis(50)) {
                if message.lines().any(|l| l == line) {
                    return message;
                }
            }
            assert!(ended.is_none(), "ended before {line}: {ended:?}");
            assert!(Instant::now() < deadline, "no {line} within {PATIENCE:?}");
        }
    }

    /// The messages to the service manager that have come and were not waited for.
    pub(crate) fn notified(&self) -> Vec<String> {
        std::iter::from_fn(|| self.service_manager.next(Duration::from_millis(1))).collect()
    }

    /// Sends SIGHUP, and waits until the daemon has told the service manager of the beginning and
    /// the end of the reload, be it a success or not.
    #[track_caller]
    pub(crate) fn reload(&mut self) {
        self.signal(Signal::HUP);
        self.wait_notify("RELOADING=1");
        self.wait_notify("READY=1");
    }

    /// Waits for a line of the log that contains `text`, from the start of the daemon on, and
    /// returns it.
    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str) -> String {
        self.wait_log_since(0, text)
    }

    /// The end of the log as it is now, for [`wait_log_since`](Self::wait_log_since).
    pub(crate) fn log_mark(&self) -> usize {
        self.log.lock().lines.len()
    }

    /// Waits for a line of the log that contains `text` and came after `mark`, and returns it.
    #[track_caller]
    pub(crate) fn wait_log_since(&self, mark: usize, text: &str) -> String {
        self.log.wait_for(mark, text).unwrap_or_else(|why| panic!("no line with {text:?} in the log: {why}"))
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().lines.join("\n")
    }

    /// Whether the daemon has ended, and how.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits until the daemon has ended by itself, and all of its log was read.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        // The log ends when the process does: something to block on, which wait(2) with a timeout
        // is not.
        assert!(self.log.wait_for_end(within), "the daemon still runs after {within:?}");
        self.child.wait().expect("a child can be waited for")
    }

    /// Sends SIGTERM, asserts that the daemon ends well, and returns its log.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.wait_exit(PATIENCE);
        assert!(status.success(), "the daemon ended with {status}");
        self.log()
    }

    /// The same, and returns the pushes that the daemon sends before it ends.
    #[track_caller]
    pub(crate) fn stop_and_read(self, receiver: &Receiver) -> Vec<Push> {
        let mut pushes = receiver.read_during(|| {
            self.stop();
        });
        pushes.extend(receiver.drain());
        pushes
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test")]
    fn drop(&mut self) {
        // Errors: it has ended already. SIGKILL also ends a process that is stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let mut text = String::from("---- log of the daemon ----\n");
            let _ = writeln!(text, "{}", self.log());
            eprint!("{text}");
        }
    }
}

/// The lines that the daemon wrote to stderr, filled by a thread of its own.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    grown: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogState> {
        // A test that panicked leaves lines that are as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, stderr: impl Read) {
        // Split into bytes and not lines(): a line that is not UTF-8 must not end the log.
        for line in BufReader::new(stderr).split(b'\n') {
            let Ok(line) = line else { break };
            self.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
            self.grown.notify_all();
        }
        self.lock().ended = true;
        self.grown.notify_all();
    }

    fn wait_for(&self, mark: usize, text: &str) -> Result<String, String> {
        let missing = |state: &mut LogState| !state.ended && state.find(mark, text).is_none();
        let (state, _) = self
            .grown
            .wait_timeout_while(self.lock(), PATIENCE, missing)
            .unwrap_or_else(PoisonError::into_inner);
        state.find(mark, text).ok_or_else(|| {
            if state.ended { "the daemon has ended".to_owned() } else { format!("not within {PATIENCE:?}") }
        })
    }

    fn wait_for_end(&self, within: Duration) -> bool {
        let (state, _) = self
            .grown
            .wait_timeout_while(self.lock(), within, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.ended
    }
}

impl LogState {
    fn find(&self, mark: usize, text: &str) -> Option<String> {
        let lines = self.lines.iter().skip(mark);
        lines.into_iter().find(|line| line.contains(text)).cloned()
    }
}
