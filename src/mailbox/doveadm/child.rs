//! Runs a program to its end: in bounded time, with bounded output, and never longer than the daemon.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process_group},
};
use thiserror::Error;

use crate::service_manager::NOT_FOR_CHILDREN;

/// What a program may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may run.
    pub time: Duration,
    /// After SIGTERM it has so long until SIGKILL.
    pub grace: Duration,
    /// How many bytes it may write to stdout, and how many to stderr.
    pub output: usize,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to stdout.
    pub stdout: Vec<u8>,
    /// All that it wrote to stderr.
    pub stderr: Vec<u8>,
}

/// Why a program has no output.
#[derive(Debug, Error)]
pub enum ChildError {
    /// It cannot be started.
    #[error("cannot be started: {0}")]
    Start(io::Error),
    /// It was killed, because it ran too long.
    #[error("did not end within {}, and was killed", humantime::format_duration(*.0))]
    TooSlow(Duration),
    /// It was killed, because it wrote too much.
    #[error("wrote more than {0} bytes, and was killed")]
    Flood(usize),
    /// The daemon ends.
    #[error("was killed, for the daemon ends")]
    Stopped,
    /// Its output cannot be read.
    #[error("cannot be read from: {0}")]
    Read(io::Error),
}

/// How often a program that closed its output and goes on is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A process that SIGKILL does not end waits in the kernel, for a disk that does not answer as a rule. It is left behind.
const KILLED: Duration = Duration::from_secs(2);

/// Ends the program that runs, when dropped, and lets no other one begin.
#[derive(Debug, Default)]
pub struct Leash(Arc<Mutex<Slot>>);

/// What runs programs on that leash.
#[derive(Clone, Debug, Default)]
pub struct Runner(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    /// What runs, and was not waited for: until then nobody else has its number.
    child: Option<Child>,
    is_over: bool,
}

impl Leash {
    /// Something that runs programs while this is there.
    #[must_use]
    pub fn runner(&self) -> Runner {
        Runner(Arc::clone(&self.0))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        slot.is_over = true;
        slot.signal(Signal::KILL);
    }
}

impl Slot {
    /// To the whole group, for a program may be a script that runs another one.
    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // Gone already, or nothing that can be done about it.
            let _ = kill_process_group(Pid::from_child(child), signal);
        }
    }

    /// Has it ended? Then its number may be another's from now on.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    // Nothing panics with the lock, and a slot is right at any time.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runner {
    /// Runs a program and waits for its end. Blocks.
    ///
    /// # Errors
    /// If there is nothing to start, or it goes beyond its limits.
    pub fn run(&self, command: &mut Command, limits: &Limits) -> Result<Output, ChildError> {
        let deadline = Instant::now() + limits.time;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in NOT_FOR_CHILDREN {
            command.env_remove(name);
        }
        let mut pipes = {
            let mut slot = lock(&self.0);
            if slot.is_over {
                return Err(ChildError::Stopped);
            }
            let mut child = command_in_group(command).spawn().map_err(ChildError::Start)?;
            let pipes = Pipes::of(&mut child);
            slot.child = Some(child);
            pipes
        };
        let read = pipes.read(deadline, limits);
        let ended = read.and_then(|()| self.wait(deadline).ok_or(ChildError::TooSlow(limits.time)));
        match ended {
            Ok(status) => {
                if lock(&self.0).is_over {
                    return Err(ChildError::Stopped);
                }
                Ok(Output { status, stdout: pipes.stdout.bytes, stderr: pipes.stderr.bytes })
            }
            Err(error) => {
                self.end(limits.grace);
                Err(error)
            }
        }
    }

    /// Waits until what runs has ended.
    fn wait(&self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            let status = lock(&self.0).ended();
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            // There is nothing to block on: a pidfd is a part of Linux.
            let _ = poll(&mut [], Some(&timespec(LOOK)));
        }
    }

    /// Ends what runs: first it is asked to.
    fn end(&self, grace: Duration) {
        lock(&self.0).signal(Signal::TERM);
        if self.wait(Instant::now() + grace).is_none() {
            lock(&self.0).signal(Signal::KILL);
            self.wait(Instant::now() + KILLED);
            lock(&self.0).child = None;
        }
    }
}

/// A group of its own, so that whatever it starts ends with it.
fn command_in_group(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    command.process_group(0)
}

/// One end of a pipe, and what came out of it.
struct Pipe<R> {
    from: Option<R>,
    bytes: Vec<u8>,
}

impl<R: Read + AsFd> Pipe<R> {
    /// Reads what is there.
    fn read(&mut self, limit: usize) -> Result<(), ChildError> {
        let Some(from) = &mut self.from else { return Ok(()) };
        let mut buffer = [0; 16 * 1024];
        match from.read(&mut buffer) {
            Ok(0) => self.from = None,
            Ok(count) if self.bytes.len() + count > limit => return Err(ChildError::Flood(limit)),
            Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ChildError::Read(error)),
        }
        Ok(())
    }
}

struct Pipes {
    stdout: Pipe<ChildStdout>,
    stderr: Pipe<ChildStderr>,
}

impl Pipes {
    fn of(child: &mut Child) -> Self {
        Self {
            stdout: Pipe { from: child.stdout.take(), bytes: Vec::new() },
            stderr: Pipe { from: child.stderr.take(), bytes: Vec::new() },
        }
    }

    /// Reads both to their ends.
    fn read(&mut self, deadline: Instant, limits: &Limits) -> Result<(), ChildError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ChildError::TooSlow(limits.time));
            }
            let fds =
                [self.stdout.from.as_ref().map(AsFd::as_fd), self.stderr.from.as_ref().map(AsFd::as_fd)];
            let mut polled: Vec<_> =
                fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            if polled.is_empty() {
                return Ok(());
            }
            match poll(&mut polled, Some(&timespec(left))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(ChildError::Read(error.into())),
            }
            let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
            let [stdout, stderr] = fds.map(|fd| fd.is_some() && ready.next() == Some(true));
            drop(ready);
            if stdout {
                self.stdout.read(limits.output)?;
            }
            if stderr {
                self.stderr.read(limits.output)?;
            }
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    const SHORT: Limits =
        Limits { time: Duration::from_millis(300), grace: Duration::from_millis(200), output: 10_000 };
    const LONG: Limits =
        Limits { time: Duration::from_secs(30), grace: Duration::from_millis(200), output: 10_000 };

    fn script(text: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        command
    }

    fn run(text: &str, limits: &Limits) -> Result<Output, ChildError> {
        let leash = Leash::default();
        leash.runner().run(&mut script(text), limits)
    }

    /// Has the process that wrote its number there ended?
    fn is_gone(file: &Path) -> bool {
        let number = fs::read_to_string(file).expect("it has written its number");
        let pid = Pid::from_raw(number.trim().parse().expect("a number")).expect("a process");
        // A zombie of init's is as good as gone.
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        rustix::process::test_kill_process(pid).is_err() || state.contains(") Z ")
    }

    fn eventually(mut probe: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !probe() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    #[test]
    fn output_and_status() {
        let output = run("echo out; echo err >&2; exit 67", &LONG).expect("it ends");
        assert_eq!(
            (output.stdout.as_slice(), output.stderr.as_slice()),
            (b"out\n".as_slice(), b"err\n".as_slice())
        );
        assert_eq!(output.status.code(), Some(67));
        let nothing = Leash::default().runner().run(&mut Command::new("/nowhere"), &LONG);
        assert!(matches!(nothing, Err(ChildError::Start(error)) if error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn more_than_a_pipe_holds_on_both() {
        let limits = Limits { output: 1 << 20, ..LONG };
        let both = "head -c 500000 /dev/zero & head -c 500000 /dev/zero >&2; wait";
        let output = run(both, &limits).expect("it ends");
        assert_eq!((output.stdout.len(), output.stderr.len()), (500_000, 500_000));
    }

    #[test]
    fn a_flood_is_cut_off() {
        for flood in ["exec cat /dev/zero", "exec cat /dev/zero >&2", "cat /dev/zero; true"] {
            let error = run(flood, &LONG).expect_err(flood);
            assert_eq!(error.to_string(), "wrote more than 10000 bytes, and was killed", "{flood}");
        }
    }

    #[test]
    fn what_hangs_is_ended_with_what_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        for (number, hang) in [
            "sleep 1000",
            "sleep 1000; true",
            "trap '' TERM; sleep 1000; sleep 1000",
            "exec >/dev/null 2>&1; sleep 1000; true",
        ]
        .into_iter()
        .enumerate()
        {
            let file = directory.path().join(number.to_string());
            let error = run(&format!("echo $$ > {}; {hang}", file.display()), &SHORT).expect_err(hang);
            assert!(error.to_string().starts_with("did not end within 300ms"), "{hang}: {error}");
            assert!(eventually(|| is_gone(&file)), "{hang}");
        }
    }

    /// A program that ended and left another one with its output.
    #[test]
    fn output_that_stays_open() {
        assert!(matches!(run("sleep 1000 & exit 0", &SHORT), Err(ChildError::TooSlow(_))));
    }

    #[test]
    fn the_end_of_the_leash_is_that_of_the_program() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let leash = Leash::default();
        let runner = leash.runner();
        let text =
            format!("trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; sleep 1000; true", file.display());
        let running = std::thread::spawn(move || (runner.run(&mut script(&text), &LONG).map(drop), runner));
        assert!(eventually(|| file.exists()));
        drop(leash);
        let (ended, runner) = running.join().expect("no panic");
        assert!(matches!(ended, Err(ChildError::Stopped)), "{ended:?}");
        assert!(is_gone(&file));
        assert!(matches!(runner.run(&mut script("true"), &LONG), Err(ChildError::Stopped)));
    }
}
