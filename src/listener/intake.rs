//! What all listeners hand their requests to, whatever they speak.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::debug;

use crate::{
    classifier::Kind,
    handover::Handover,
    mailbox::{
        Username, UsernameError, mailbox_name,
        username_format::{UnusableName, UsernameFormat},
    },
    registry::{
        DeviceError, Key, NewRegistration, Timestamp, Topic,
        change::{Change, MAILBOXES},
        service::{PATIENCE, RegisterError, Registered, Registry},
    },
};

/// The most bytes of a mailbox's name that is kept.
const MAILBOX_NAME: usize = 1000;
/// The most bytes of a subtopic and of a user name.
const SHORT_TEXT: usize = 255;
/// How long the thread that has the map, and the disk that has the Maildir, may take to say whose it is.
const OWNER_PATIENCE: Duration = Duration::from_millis(500);

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody who may speak for anybody: root, one of `peers`, or whoever reaches the loopback port.
    Trusted,
    /// Another process: it may speak for those whose Maildirs this uid owns.
    Uid(u32),
}

/// A device registers, in the words of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisterRequest<'a> {
    /// Whose mail.
    pub user: &'a str,
    /// `aps-account-id`.
    pub account_id: &'a str,
    /// `aps-device-token`.
    pub device_token: &'a str,
    /// `aps-subtopic`.
    pub subtopic: &'a str,
    /// The mailboxes, decoded.
    pub mailboxes: Vec<String>,
    /// Is the client told the topic? Where the protocol has no answer, the push goes out on the credential's.
    pub is_answered: bool,
}

/// What happened to a user's mail, as a plugin says. Joined until somebody looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// What happened to INBOX, if anything.
    pub inbox: Option<Kind>,
    /// Other mailboxes that a device of the user was told it would hear of.
    pub others: Vec<String>,
}

/// Asks the thread that has the map where a user's Maildir is.
#[derive(Debug)]
pub struct MaildirOf {
    /// Whose.
    pub user: Username,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Option<PathBuf>>,
}

/// Why a request is not taken.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// The user cannot be one.
    #[error(transparent)]
    User(#[from] UsernameError),
    /// Nothing is left of the name when it is normalised.
    #[error(transparent)]
    Unusable(#[from] UnusableName),
    /// The user name is too long.
    #[error("the user name has more than {SHORT_TEXT} bytes")]
    LongUser,
    /// The device cannot be one.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The registry does not take it.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The process may not speak for the user.
    #[error(
        "uid {uid} does not own the Maildir of {user}; name its user in `[listen] peers` if it may register for anybody"
    )]
    NotOwner {
        /// Who spoke.
        uid: u32,
        /// For whom.
        user: Username,
    },
    /// There is nothing to answer with.
    #[error("the APNs topic is not known: set `topic` under [apns]")]
    NoTopic,
}

impl IntakeError {
    /// Is it a mistake in the request, rather than something of ours?
    #[must_use]
    pub const fn is_bad_request(&self) -> bool {
        !matches!(self, Self::NoTopic | Self::Register(_))
    }
}

/// The way in, one for all connections.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Where registrations go.
    pub registry: Registry,
    /// Where hints go: to the thread that has the debouncer.
    pub hints: Arc<Handover<Username, Hint>>,
    /// To the thread that has the map.
    pub maildirs: mpsc::Sender<MaildirOf>,
    /// How names are normalised; another one after a reload.
    pub username_format: watch::Receiver<UsernameFormat>,
    /// The topic that devices are told.
    pub topic: watch::Receiver<Option<Topic>>,
}

impl Intake {
    /// Takes a registration. The answer is the topic for the client.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn register(
        &self,
        peer: Peer,
        request: RegisterRequest<'_>,
    ) -> Result<Option<Topic>, IntakeError> {
        let user = self.username(request.user)?;
        let key = Key { user, token: request.device_token.parse()?, account: request.account_id.parse()? };
        let topic = self.topic.borrow().clone();
        if request.is_answered && topic.is_none() {
            return Err(IntakeError::NoTopic);
        }
        self.check_owner(peer, &key.user).await?;
        let topic = topic.filter(|_| request.is_answered);
        let mut mailboxes = request.mailboxes;
        mailboxes.retain(|name| name.len() <= MAILBOX_NAME);
        mailboxes.truncate(MAILBOXES);
        let user = key.user.clone();
        let new = NewRegistration {
            key,
            subtopic: request.subtopic.chars().filter(|it| !it.is_control()).take(SHORT_TEXT).collect(),
            topic: topic.clone(),
            mailboxes,
            acknowledged: Vec::new(),
            at: Timestamp::now(),
        };
        match self.registry.register(new).await? {
            Registered::Stored => {}
            Registered::Waiting => debug!(user = %user, "a registration of {user} waits for the disk"),
            Registered::OptedOut => debug!(user = %user, "{user} is opted out, and nothing is kept"),
        }
        Ok(topic)
    }

    /// Takes the wish of a registered device to hear of one more mailbox.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn subscribe(
        &self,
        peer: Peer,
        user: &str,
        account_id: &str,
        device_token: &str,
        mailbox: &str,
    ) -> Result<(), IntakeError> {
        let user = self.username(user)?;
        let key = Key { user, token: device_token.parse()?, account: account_id.parse()? };
        self.check_owner(peer, &key.user).await?;
        if mailbox.len() <= MAILBOX_NAME {
            // Nothing depends on it, so nobody waits for the disk.
            let _ = self.registry.submit(Change::Subscribe { key, mailbox: mailbox.to_owned() });
        }
        Ok(())
    }

    /// Takes a hint that something happened to a mailbox.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn hint(&self, peer: Peer, user: &str, mailbox: &str, kind: Kind) -> Result<(), IntakeError> {
        let user = self.username(user)?;
        self.check_owner(peer, &user).await?;
        let hint = if mailbox_name::is_inbox(mailbox) {
            Hint { inbox: Some(kind), others: Vec::new() }
        } else if self.is_acknowledged(&user, mailbox).await {
            Hint { inbox: None, others: vec![mailbox.to_owned()] }
        } else {
            return Ok(());
        };
        self.hints.put(user, hint, |waiting, new| {
            waiting.inbox = waiting.inbox.max(new.inbox);
            for other in new.others {
                if !waiting.others.contains(&other) && waiting.others.len() < MAILBOXES {
                    waiting.others.push(other);
                }
            }
        });
        Ok(())
    }

    /// Was a device of the user told that it would hear of this mailbox? Nobody knows while the disk hangs, and the one who delivers
    /// mail to the folder does not wait for that.
    async fn is_acknowledged(&self, user: &Username, mailbox: &str) -> bool {
        let found = tokio::time::timeout(PATIENCE, self.registry.of_users(vec![user.clone()])).await;
        let registrations = found.ok().and_then(Result::ok).unwrap_or_default();
        registrations.iter().any(|registration| registration.acknowledged.iter().any(|name| name == mailbox))
    }

    fn username(&self, name: &str) -> Result<Username, IntakeError> {
        if name.len() > SHORT_TEXT {
            return Err(IntakeError::LongUser);
        }
        Ok(self.username_format.borrow().apply(&Username::new(name)?)?)
    }

    /// An IMAP process runs as the owner of the Maildir.
    async fn check_owner(&self, peer: Peer, user: &Username) -> Result<(), IntakeError> {
        let Peer::Uid(uid) = peer else { return Ok(()) };
        let (reply, answer) = oneshot::channel();
        let question = MaildirOf { user: user.clone(), reply };
        let owner = async {
            self.maildirs.send(question).await.ok()?;
            let maildir = answer.await.ok()??;
            // On a thread of its own: the disk may take its time.
            tokio::task::spawn_blocking(move || fs::metadata(maildir).ok().map(|found| found.uid()))
                .await
                .ok()?
        };
        match tokio::time::timeout(OWNER_PATIENCE, owner).await {
            Ok(Some(owner)) if owner == uid => Ok(()),
            _ => Err(IntakeError::NotOwner { uid, user: user.clone() }),
        }
    }
}
