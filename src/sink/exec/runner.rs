//! The task that runs programs: so many at once, one for each user, and what cannot be started is kept.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    outcomes::Outcomes,
    program,
    queue::Queue,
    run::{End, Ended, NotStarted, Run},
    shared::Shared,
};
use crate::{backoff::Backoff, config::Exec};

/// A program that cannot be started: a look now and then, soon enough after it is there again.
const NOT_STARTED: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The task.
pub(super) struct Runner {
    config: watch::Receiver<Exec>,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    runs: JoinSet<Ended>,
    outcomes: Outcomes,
    backoff: Backoff,
    outage: Option<Outage>,
}

/// Why no program starts at the moment.
struct Outage {
    since: Instant,
    /// The error's number, to say each kind of trouble once.
    error: Option<i32>,
    retry: Instant,
}

impl Runner {
    pub(super) fn new(
        config: watch::Receiver<Exec>,
        queue: Arc<Queue>,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            config,
            queue,
            shared,
            stop,
            runs: JoinSet::new(),
            outcomes: Outcomes::default(),
            backoff: Backoff::new(NOT_STARTED.0, NOT_STARTED.1),
            outage: None,
        }
    }

    /// Until it is told to stop, and what runs then has ended.
    pub(super) async fn run(mut self) {
        // Whoever started the daemon may have had SIGCHLD ignored, and that would be inherited: nothing would be known of any end.
        let _children = signal(SignalKind::child());
        self.look_at_program();
        while !self.stop.is_cancelled() {
            let now = Instant::now();
            let program = self.program();
            self.outcomes.on_time(&program, &self.shared, now);
            let retry = self.start(now);
            let wake = [retry, self.outcomes.due()].into_iter().flatten().min();
            tokio::select! {
                Some(ended) = self.runs.join_next() => self.ended(ended),
                () = self.queue.filled() => {}
                changed = self.config.changed() => match changed {
                    // The new program is tried at once.
                    Ok(()) => {
                        self.look_at_program();
                        if let Some(outage) = &mut self.outage {
                            outage.retry = Instant::now();
                        }
                    }
                    // Nobody is left to tell it anything.
                    Err(_) => self.stop.cancel(),
                },
                () = self.stop.cancelled() => {}
                () = sleep_until(wake) => {}
            }
        }
        while let Some(ended) = self.runs.join_next().await {
            self.ended(ended);
        }
    }

    fn program(&self) -> String {
        self.config.borrow().command.program.display().to_string()
    }

    /// Says it at once if the program could not be started now.
    fn look_at_program(&mut self) {
        let unusable = program::find(&self.config.borrow_and_update().command.program);
        if let Err(program::Unusable { message, hint }) = unusable {
            warn!(hint, "{message}; pushes are kept until it can be; hint: {hint}");
        }
    }

    /// Starts what may be started. Tells when to try again, if only the time is in the way: for a place, or for somebody to start a program
    /// for, there is no use in waking up.
    fn start(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let Exec { command, concurrency, timeout } = self.config.borrow().clone();
            if self.runs.len() >= concurrency || self.queue.is_empty() {
                return None;
            }
            if let Some(Outage { retry, .. }) = self.outage
                && retry > now
            {
                return Some(retry);
            }
            let push = self.queue.take()?;
            match Run::start(&command, push) {
                Ok(run) => {
                    self.runs.spawn(run.end(timeout, self.stop.clone()));
                    self.backoff.reset();
                    if let Some(Outage { since, .. }) = self.outage.take() {
                        self.shared.trouble.set(None);
                        let seconds = since.elapsed().as_secs_f64();
                        let program = command.program.display();
                        info!(
                            seconds,
                            "{program} can be started again, after {seconds:.1} s; what waited is pushed"
                        );
                    }
                }
                Err(not_started) => self.not_started(*not_started),
            }
        }
    }

    fn not_started(&mut self, NotStarted { push, error }: NotStarted) {
        let program = &self.config.borrow().command.program;
        let shown = program.display();
        // It is about this push and no other, and would never get better.
        if error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(libc::E2BIG) {
            warn!(user = %push.user, %error, "{shown} cannot be told of {}: {error}; this push is dropped", push.user);
            return self.queue.ended(&push.user);
        }
        let now = Instant::now();
        let retry = now + self.backoff.failed(fastrand::f64());
        let number = error.raw_os_error();
        let is_known = self.outage.as_ref().is_some_and(|outage| outage.error == number);
        let since = self.outage.as_ref().map_or(now, |outage| outage.since);
        self.outage = Some(Outage { since, error: number, retry });
        self.queue.put_back(push);
        if !is_known {
            let (waiting, hint) = (self.queue.waiting(), program::hint(program, &error));
            self.shared.trouble.set(Some(format!("{shown} cannot be started: {error}")));
            error!(
                %error, waiting, hint,
                "{shown} cannot be started: {error}; each user's push is kept and tried again; hint: {hint}"
            );
        }
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let ended = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let program = self.program();
        self.outcomes.tell(&ended, &program, &self.shared, Instant::now());
        // What the daemon's own end has ended is not done: the next start tells of it.
        if ended.end != End::Stopped {
            self.queue.ended(&ended.push.user);
        }
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustc_hash::FxHashSet;

    use super::*;
    use crate::{
        classifier::Kind,
        mailbox::{MailboxId, Username},
        sink::exec::{command::Command, queue::Push},
    };

    /// A thread that wakes up for nothing would do so all the time.
    #[test]
    fn nobody_waits_for_a_program_that_nobody_wants() {
        let command = Command { program: "/nonexistent/on-mail".into(), arguments: Vec::new() };
        let (_config, config) =
            watch::channel(Exec { command, concurrency: 1, timeout: Duration::from_secs(1) });
        let queue = Arc::<Queue>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _entered = runtime.enter();
        let mut runner = Runner::new(config, Arc::clone(&queue), Arc::default(), CancellationToken::new());
        let now = Instant::now();
        assert_eq!(runner.start(now), None, "there is nobody yet");
        queue.put(Push {
            user: Username::new("jo").expect("a name"),
            mailbox: MailboxId(7),
            maildir: Path::new("/mail").into(),
            kind: Kind::Change,
            since: now,
            events: 1,
        });
        let retry = runner.start(now).expect("it cannot be started, and is tried again");
        assert!(retry > now && queue.waiting() == 1);
        queue.forget(&FxHashSet::from_iter([MailboxId(7)]));
        assert_eq!(runner.start(retry), None, "the mailbox is no more");
    }
}
