//! What can happen to the registry, each as one value that is applied inside a transaction.

use std::{path::PathBuf, sync::Arc};

use super::{
    AccountId, DeviceToken, Key, NewRegistration, StoreError, Timestamp, Topic, Transaction,
    life::{self, Answer, Refused, Write},
};
use crate::{mailbox::Username, stamp::Stamps};

/// The most devices of one user, unless the configuration says otherwise.
pub const DEVICES_PER_USER: usize = 50;

/// The most mailboxes of a registration. Nobody has more, and a client may say anything.
pub const MAILBOXES: usize = 1000;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A device registers.
    Register(NewRegistration),
    /// A device that has registered wants to hear of one more mailbox.
    Subscribe {
        /// Which registration.
        key: Key,
        /// Which mailbox.
        mailbox: String,
    },
    /// Apple answered a push with something else than that all is well.
    Answered {
        /// Which registration.
        key: Key,
        /// What it said.
        answer: Answer,
        /// When the push was sent.
        sent: Timestamp,
        /// Do many tokens fail at once?
        is_mass_failure: bool,
    },
    /// Pushes that went well.
    Pushed(Vec<(Arc<Key>, Timestamp)>),
    /// Somebody wants these registrations gone.
    Remove {
        /// Whose.
        user: Username,
        /// Of one device only.
        token: Option<DeviceToken>,
        /// Of one account only.
        account: Option<AccountId>,
    },
    /// A user wants no push at all: nothing is kept, and nothing taken from now on. Or wants them again.
    OptOut {
        /// Who.
        user: Username,
        /// Out, or in again.
        out: bool,
    },
    /// Mailboxes of which everything up to these stamps has been pushed, by the paths of their Maildirs; and others that are no more.
    Records {
        /// To be kept.
        kept: Vec<(PathBuf, Stamps)>,
        /// To be removed.
        gone: Vec<PathBuf>,
    },
    /// A credential with this topic is in use.
    LastTopic(Topic),
    /// Everything goes that has not come back since.
    Expire {
        /// Since when.
        before: Timestamp,
    },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// So many registrations were written or removed.
    Done(usize),
    /// The user is opted out, so nothing was kept.
    OptedOut,
    /// It was not taken.
    Refused(Refused),
}

impl Change {
    /// Whose registrations may be others afterwards. None if no look-up is different.
    #[must_use]
    pub const fn user(&self) -> Option<&Username> {
        match self {
            Self::Register(NewRegistration { key, .. })
            | Self::Subscribe { key, .. }
            | Self::Answered { key, .. } => Some(&key.user),
            Self::Remove { user, .. } | Self::OptOut { user, .. } => Some(user),
            Self::Pushed(_) | Self::Records { .. } | Self::LastTopic(_) | Self::Expire { .. } => None,
        }
    }

    /// Applies the change. `touched` is told of each user whose registrations may be others now.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn apply(
        &self,
        store: &mut dyn Transaction,
        devices_per_user: usize,
        touched: &mut dyn FnMut(&Username),
    ) -> Result<Applied, StoreError> {
        if let Some(user) = self.user() {
            touched(user);
        }
        match self {
            Self::Register(new) => {
                if store.is_opted_out(&new.key.user)? {
                    return Ok(Applied::OptedOut);
                }
                match life::register(&store.of_user(&new.key.user)?, new, devices_per_user) {
                    Ok(writes) => write(store, &writes),
                    Err(refused) => Ok(Applied::Refused(refused)),
                }
            }
            Self::Subscribe { key, mailbox } => {
                let found = store.of_user(&key.user)?.into_iter().find(|found| found.key == *key);
                match found {
                    Some(mut found)
                        if !found.mailboxes.contains(mailbox) && found.mailboxes.len() < MAILBOXES =>
                    {
                        found.mailboxes.push(mailbox.clone());
                        write(store, &[Write::Put(found)])
                    }
                    _ => Ok(Applied::Done(0)),
                }
            }
            Self::Answered { key, answer, sent, is_mass_failure } => {
                let found = store.of_user(&key.user)?.into_iter().find(|found| found.key == *key);
                match found {
                    Some(found) => write(store, &[life::answered(&found, answer, *sent, *is_mass_failure)]),
                    None => Ok(Applied::Done(0)),
                }
            }
            Self::Pushed(pushes) => {
                for (key, at) in pushes {
                    store.pushed(key, *at)?;
                }
                Ok(Applied::Done(pushes.len()))
            }
            Self::Remove { user, token, account } => {
                let writes: Vec<_> = store
                    .of_user(user)?
                    .into_iter()
                    .map(|found| found.key)
                    .filter(|key| token.as_ref().is_none_or(|token| *token == key.token))
                    .filter(|key| account.as_ref().is_none_or(|account| *account == key.account))
                    .map(Write::Delete)
                    .collect();
                write(store, &writes)
            }
            Self::OptOut { user, out } => {
                store.set_opted_out(user, *out)?;
                let remove = Self::Remove { user: user.clone(), token: None, account: None };
                if *out { remove.apply(store, devices_per_user, touched) } else { Ok(Applied::Done(0)) }
            }
            Self::Records { kept, gone } => {
                store.keep_records(kept, gone)?;
                Ok(Applied::Done(kept.len() + gone.len()))
            }
            Self::LastTopic(topic) => {
                store.set_last_topic(topic)?;
                Ok(Applied::Done(0))
            }
            Self::Expire { before } => {
                let users = store.expire(*before)?;
                users.iter().for_each(touched);
                Ok(Applied::Done(users.len()))
            }
        }
    }
}

fn write(store: &mut dyn Transaction, writes: &[Write]) -> Result<Applied, StoreError> {
    for write in writes {
        match write {
            Write::Put(registration) => store.put(registration)?,
            Write::Delete(key) => store.delete(key)?,
        }
    }
    Ok(Applied::Done(writes.len()))
}
