//! Answers to questions, for whoever serves clients.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, timeout},
};

use super::{
    Question,
    status::{Status, UserStatus},
};
use crate::registry::service::Registry;

/// The thread that watches has much to do at times, but never for so long.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Asks the other threads.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    ask: mpsc::Sender<Question>,
    registry: Option<Registry>,
    /// Held while a question is under way. Many clients together cost no more than one: whoever waits for this gets the answer of the one
    /// who asked after him.
    last: Arc<Mutex<Option<Last>>>,
}

impl Desk {
    pub(super) fn new(ask: mpsc::Sender<Question>, registry: Option<Registry>) -> Self {
        Self { ask, registry, last: Arc::default() }
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
            let counts = timeout(PATIENCE, registry.counts()).await;
            let counts = counts.ok().and_then(Result::ok);
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

    /// How a user's mailbox is.
    pub(super) async fn user(&self, user: String) -> Result<Option<UserStatus>, NoAnswer> {
        self.question(|reply| Question::User(user, reply)).await
    }

    /// How some mailboxes are, and the number to go on with.
    pub(super) async fn users(&self, from: u32) -> Result<(Vec<UserStatus>, Option<u32>), NoAnswer> {
        self.question(|reply| Question::Users(from, reply)).await
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
