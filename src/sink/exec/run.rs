//! One run of the program: a process group of its own, which ends by itself or is ended.

use std::{
    fmt, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{io::AsyncReadExt, net::unix::pipe, process::Child, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{command::Command, queue::Push, tail::Tail};
use crate::service_manager::NOT_FOR_CHILDREN;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// The same when the daemon ends: the whole stop takes five seconds.
const LAST_GRACE: Duration = Duration::from_millis(400);
/// How long a process may take to be gone after SIGKILL, before it is left to the system.
const KILLED: Duration = Duration::from_millis(200);
/// How often to look whether a group that was told to end has ended.
const LOOK: Duration = Duration::from_millis(20);
/// What is read of the output at once.
const READ: usize = 16 * 1024;
/// So many reads empty what a pipe holds after the program has ended.
const LAST_READS: usize = 8;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It cannot be known how.
    Unknown,
    /// It took too long, and was ended.
    TimedOut(Duration),
    /// The daemon ends, and so it was ended.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exit status {code}"),
                (None, Some(signal)) => write!(f, "ended by signal {signal}"),
                (None, None) => write!(f, "{status}"),
            },
            Self::Unknown => f.write_str("nothing is known of its end"),
            Self::TimedOut(after) => {
                write!(f, "ended after {}, its timeout", humantime::format_duration(*after))
            }
            Self::Stopped => write!(f, "ended with the daemon"),
        }
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) push: Push,
    pub(super) end: End,
    /// The end of what it printed.
    pub(super) output: String,
    pub(super) took: Duration,
}

/// A program that runs.
pub(super) struct Run {
    push: Push,
    child: Child,
    /// Its process group, which has its own number.
    group: Option<Pid>,
    /// Standard output and standard error in one.
    output: Option<pipe::Receiver>,
    tail: Tail,
    started: Instant,
}

/// What is wrong where no program starts, and the push that wanted it.
pub(super) struct NotStarted {
    pub(super) push: Push,
    pub(super) error: io::Error,
}

impl Run {
    /// Starts the program.
    pub(super) fn start(command: &Command, push: Push) -> Result<Self, Box<NotStarted>> {
        match spawn(command, &push) {
            Ok((child, output)) => {
                let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                let output = Some(output);
                Ok(Self { push, child, group, output, tail: Tail::default(), started: Instant::now() })
            }
            Err(error) => Err(Box::new(NotStarted { push, error })),
        }
    }

    /// Waits for the end, and brings it about after `most`, or when the daemon ends.
    pub(super) async fn end(mut self, most: Duration, stop: CancellationToken) -> Ended {
        let end = tokio::select! {
            status = self.exit() => status.map_or(End::Unknown, End::Exited),
            () = tokio::time::sleep(most) => End::TimedOut(most),
            () = stop.cancelled() => End::Stopped,
        };
        match end {
            End::Exited(_) | End::Unknown => {}
            End::TimedOut(_) => {
                // The end of the daemon makes it short.
                tokio::select! {
                    () = self.end_group(GRACE) => {}
                    () = stop.cancelled() => {}
                }
                self.kill().await;
            }
            End::Stopped => {
                self.end_group(LAST_GRACE).await;
                self.kill().await;
            }
        }
        Ended { push: self.push, end, output: self.tail.line(), took: self.started.elapsed() }
    }

    /// Waits for the exit of the program, and reads what it prints. Others that it started may keep its output open: they are not waited for.
    /// Safe to drop while it waits.
    async fn exit(&mut self) -> io::Result<ExitStatus> {
        let mut buffer = vec![0; READ];
        let status = loop {
            let Some(output) = &mut self.output else { break self.child.wait().await };
            tokio::select! {
                biased;
                status = self.child.wait() => break status,
                read = output.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => self.output = None,
                    Ok(bytes) => self.tail.push(&buffer[..bytes]),
                },
            }
        };
        for _ in 0..LAST_READS {
            match self.output.as_ref().map(|output| output.try_read(&mut buffer)) {
                Some(Ok(bytes)) if bytes > 0 => self.tail.push(&buffer[..bytes]),
                _ => break,
            }
        }
        status
    }

    /// Asks the whole group to end, and waits for that, for so long.
    async fn end_group(&mut self, grace: Duration) {
        let Some(group) = self.group else { return };
        let _ = kill_process_group(group, Signal::TERM);
        let _ = timeout(grace, async {
            let _ = self.exit().await;
            // Those that it started may need a moment, too.
            while test_kill_process_group(group).is_ok() {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// Ends what is left of the group. As long as somebody is in it, its number is nobody else's; and when it is empty, the number would have
    /// to go round within the moment since.
    async fn kill(&mut self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = timeout(KILLED, self.child.wait()).await;
    }
}

fn spawn(command: &Command, push: &Push) -> io::Result<(Child, pipe::Receiver)> {
    let (output, ours) = io::pipe()?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
    let mut program = tokio::process::Command::new(&command.program);
    program
        .args(command.arguments.iter().map(|argument| argument.of(push)))
        .env("PUSHMAILD_USER", push.user.as_str())
        .env("PUSHMAILD_KIND", push.kind.label())
        .env("PUSHMAILD_PATH", &*push.maildir)
        .stdin(Stdio::null())
        .stdout(ours.try_clone()?)
        .stderr(ours)
        .process_group(0);
    for name in NOT_FOR_CHILDREN {
        program.env_remove(name);
    }
    // `program` holds the pipe's other end until it goes.
    Ok((program.spawn()?, output))
}
