//! Answers to questions, for whoever serves clients.

use std::{collections::HashMap, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    Question,
    status::{DeviceStatus, Status, UserStatus},
};
use crate::{
    mailbox::Username,
    registry::{Counts, service::Registry},
};

/// The thread that watches has much to do at times, but never for so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// A million registrations take half a second to be counted, during which nobody's devices are looked up for a push. So they are counted no
/// more often than once in so many times of what it took.
const COUNT_AGAIN: u32 = 20;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    #[error("the daemon is too busy to answer")]
    Busy,
    #[error("the daemon stops")]
    Stopping,
}

/// An answer, and when its question was asked.
#[derive(Debug)]
struct Last {
    asked: Instant,
    status: Arc<Status>,
}

/// The registrations, when they were counted last.
#[derive(Debug)]
struct Counted {
    at: Instant,
    took: Duration,
    /// None if there was no answer in time.
    counts: Option<Counts>,
}

/// Asks the other threads.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    ask: mpsc::Sender<Question>,
    registry: Option<Registry>,
    /// Held while a question is under way. Many clients together cost no more than one: whoever waits for this gets the answer of the one
    /// who asked after him.
    last: Arc<Mutex<Option<Last>>>,
    counted: Arc<Mutex<Option<Counted>>>,
}

impl Desk {
    pub(super) fn new(ask: mpsc::Sender<Question>, registry: Option<Registry>) -> Self {
        Self { ask, registry, last: Arc::default(), counted: Arc::default() }
    }

    /// How everything is, or was at most so long ago.
    pub(crate) async fn status(&self, at_most: Duration) -> Result<Arc<Status>, NoAnswer> {
        let now = Instant::now();
        let wanted = now.checked_sub(at_most).unwrap_or(now);
        let mut last = self.last.lock().await;
        if let Some(Last { asked, status }) = &*last
            && *asked >= wanted
        {
            return Ok(Arc::clone(status));
        }
        let asked = Instant::now();
        let mut status = self.question(Question::Status).await?;
        if let (Some(registry), Some(report)) = (&self.registry, &mut status.registry) {
            let counts = self.counts(registry).await;
            report.devices = counts.map(|counts| counts.devices);
            report.suspended = counts.map(|counts| counts.suspended);
        }
        let status = Arc::new(status);
        *last = Some(Last { asked, status: Arc::clone(&status) });
        Ok(status)
    }

    /// Does the thread that watches answer at all?
    pub(super) async fn is_alive(&self) -> bool {
        self.question(Question::Alive).await.is_ok()
    }

    /// How many registrations there are, or were a moment ago.
    async fn counts(&self, registry: &Registry) -> Option<Counts> {
        let mut counted = self.counted.lock().await;
        let at = Instant::now();
        if let Some(last) = &*counted
            && at < last.at + last.took * COUNT_AGAIN
        {
            return last.counts;
        }
        let counts = timeout(PATIENCE, registry.counts()).await.ok().and_then(Result::ok);
        *counted = Some(Counted { at, took: at.elapsed(), counts });
        counts
    }

    /// How a user's mailbox is.
    pub(super) async fn user(&self, user: String) -> Result<Option<UserStatus>, NoAnswer> {
        let mut found: Vec<_> =
            self.question(|reply| Question::User(user, reply)).await?.into_iter().collect();
        self.add_devices(&mut found).await;
        Ok(found.pop())
    }

    /// How some mailboxes are, and the number to go on with.
    pub(super) async fn users(&self, from: u32) -> Result<(Vec<UserStatus>, Option<u32>), NoAnswer> {
        let (mut users, next) = self.question(|reply| Question::Users(from, reply)).await?;
        self.add_devices(&mut users).await;
        Ok((users, next))
    }

    /// What the registry knows of these. If it does not answer they stay without devices, as the status says.
    async fn add_devices(&self, mailboxes: &mut [UserStatus]) {
        let Some(registry) = &self.registry else { return };
        let with_device = mailboxes.iter().filter(|mailbox| mailbox.has_device == Some(true));
        let names: Vec<_> = with_device
            .flat_map(|mailbox| &mailbox.users)
            .filter_map(|name| Username::new(name).ok())
            .collect();
        if names.is_empty() {
            return;
        }
        let Ok(Ok(registrations)) = timeout(PATIENCE, registry.of_users(names)).await else { return };
        let mut of_user: HashMap<_, Vec<_>> = HashMap::new();
        for registration in registrations {
            let device = DeviceStatus::from(&registration);
            of_user.entry(registration.key.user.to_string()).or_default().push(device);
        }
        for mailbox in mailboxes {
            mailbox.devices =
                mailbox.users.iter().filter_map(|name| of_user.remove(name)).flatten().collect();
            let pushed = mailbox.devices.iter().filter_map(|device| device.last_push.clone());
            // All times are written alike, so that the later one is the larger text.
            mailbox.last_push = pushed.chain(mailbox.last_push.take()).max();
        }
    }

    async fn question<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.ask.send(question(reply)).await.map_err(|_| NoAnswer::Stopping)?;
            answer.await.map_err(|_| NoAnswer::Stopping)
        };
        timeout(PATIENCE, asked).await.unwrap_or(Err(NoAnswer::Busy))
    }
}
