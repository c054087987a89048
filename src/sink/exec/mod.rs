//! A program for each push, as launchd's `WatchPaths` had it, for all users.
//!
//! ```text
//! thread of the Maildirs ─Push→ queue.rs (each user once) ─→ runner.rs ─→ run.rs: a process group
//!                                                            another thread
//! ```
//!
//! A start of a process takes as long as a hundred pushes through a socket, so it is not the affair of the thread that watches Maildirs.

pub mod command;
mod outcomes;
pub mod program;
pub mod queue;
mod run;
mod runner;
mod shared;
mod tail;

use std::{io, path::Path, sync::Arc, thread, time::Instant};

use rustc_hash::FxHashSet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::{
    queue::{Push, Queue},
    runner::Runner,
    shared::Shared,
};
use super::{
    Health, Outcome, Sink,
    tally::{Tally, Via},
};
use crate::{
    config::Exec,
    debouncer::MailboxReady,
    mailbox::{MailboxId, MailboxMap},
};

/// The end of the sink on the thread that watches Maildirs.
#[derive(Debug)]
pub struct ExecSink {
    config: watch::Sender<Exec>,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: thread::JoinHandle<()>,
    /// Mailboxes that are no more, until what waits for them is dropped: many at a time, for that goes through all that waits.
    gone: FxHashSet<MailboxId>,
    /// Since when there are any.
    gone_since: Option<Instant>,
}

impl ExecSink {
    /// Starts the thread that runs programs. The program need not be there.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(config: &Exec, tally: &Arc<Tally>) -> io::Result<Self> {
        let (queue, stop) = (Arc::<Queue>::default(), CancellationToken::new());
        let shared = Arc::new(Shared { tally: Arc::clone(tally), ..Shared::default() });
        let (config, configs) = watch::channel(config.clone());
        let runner = Runner::new(configs, Arc::clone(&queue), Arc::clone(&shared), stop.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("exec".to_owned()).spawn(move || {
            runtime.block_on(runner.run());
            runtime.shutdown_background();
        })?;
        Ok(Self { config, queue, shared, stop, thread, gone: FxHashSet::default(), gone_since: None })
    }

    /// Takes over a new configuration. Programs that run go on as they were started.
    pub fn renew(&self, config: &Exec) {
        self.config.send_if_modified(|old| {
            let differs = old != config;
            old.clone_from(config);
            differs
        });
    }

    /// Has one of the mailbox's users a run, or something that waits for one?
    #[must_use]
    pub fn has(&self, mailbox: MailboxId, map: &MailboxMap) -> bool {
        self.queue.has(map.names(mailbox))
    }

    /// Why pushes wait, if they do.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let still_runs = || "programs of [exec] did not end in time".to_owned();
        self.shared.trouble.now().or_else(|| (!self.queue.is_empty()).then(still_runs))
    }

    /// No program is started any more, and those that run are ended. What they were about still waits, as far as anybody asks.
    pub fn end(&self) {
        self.stop.cancel();
    }

    /// Waits until all of them have ended, which takes less than a second.
    pub fn join(self) {
        self.end();
        let _ = self.thread.join();
    }

    /// Drops what waits for mailboxes that are no more, before their numbers are others'.
    fn forget_gone(&mut self) {
        if self.gone_since.take().is_some() {
            self.queue.forget(&self.gone);
            self.gone = FxHashSet::default();
        }
    }
}

impl Sink for ExecSink {
    fn via(&self) -> Via {
        Via::Exec
    }

    fn offer(&mut self, ready: &MailboxReady, map: &MailboxMap, _now: Instant) -> Outcome {
        self.forget_gone();
        let Some(maildir) = map.maildir(ready.mailbox) else { return Outcome::Handed };
        let maildir: Arc<Path> = maildir.to_path_buf().into();
        let MailboxReady { mailbox, kind, since, events } = *ready;
        for (user, name) in map.usernames(mailbox).zip(map.names(mailbox)) {
            let push = Push { user, mailbox, maildir: Arc::clone(&maildir), kind, since, events };
            if self.queue.put(push) {
                let kind = kind.as_str();
                debug!(
                    user = name,
                    kind,
                    sink = "exec",
                    reason = "joined",
                    "the push of {name} waits for the run before it"
                );
            }
        }
        Outcome::Handed
    }

    fn due(&self) -> Option<Instant> {
        self.gone_since
    }

    fn retry(&mut self, _map: &MailboxMap, _now: Instant, _sent: &mut dyn FnMut(&MailboxReady)) {
        self.forget_gone();
    }

    fn forget(&mut self, mailbox: MailboxId) {
        if !self.queue.is_empty() {
            self.gone.insert(mailbox);
            self.gone_since.get_or_insert_with(Instant::now);
        }
    }

    fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn health(&self) -> Health {
        Health {
            target: self.config.borrow().command.program.display().to_string(),
            trouble: self.shared.trouble.now(),
            last_error: self.shared.trouble.last(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{command::Command, *};
    use crate::{
        classifier::Kind,
        mailbox::{Username, source::SourceKind},
    };

    /// While something is due that is never done, the daemon does nothing but try.
    #[test]
    fn what_waits_for_a_mailbox_that_is_no_more_is_dropped_once() {
        let command = Command { program: "/no/such/program".into(), arguments: Vec::new() };
        let config = Exec { command, concurrency: 1, timeout: Duration::from_secs(1) };
        let mut sink = ExecSink::start(&config, &Arc::default()).expect("a thread");
        let (mut map, since) = (MailboxMap::default(), Instant::now());
        let jo = Username::new("jo").expect("a name");
        let mailbox = map.insert(Path::new("/mail/jo"), &jo, SourceKind::Users).expect("a new mailbox");
        sink.offer(&MailboxReady { mailbox, kind: Kind::Change, since, events: 1 }, &map, since);
        assert_eq!(sink.due(), None);
        sink.forget(mailbox);
        let now = Instant::now();
        assert!(sink.due().is_some_and(|due| due <= now));
        sink.retry(&map, now, &mut |_| {});
        assert_eq!(sink.due(), None);
        sink.join();
    }
}
