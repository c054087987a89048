//! Whom a change concerns: what has changed waits here for the registry's answer, and becomes a push for each device.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    mem,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tracing::debug;

use super::{Pusher, now};
use crate::{
    mailbox::Username,
    registry::{Key, Registration, service::NotStored},
    sink::apns::{
        devices::Devices,
        dial::Dial,
        push::{Changed, Push},
    },
};

/// Names in one question to the registry.
const LOOKUP: usize = 512;
/// A registry that cannot be read is asked again after this time.
const LOOKUP_AGAIN: Duration = Duration::from_secs(1);

/// What was asked, and the answer.
pub(super) type Found = (Vec<(Vec<Username>, Changed)>, Result<Vec<Registration>, NotStored>);

impl<D: Dial + Clone, R: Devices> Pusher<D, R> {
    pub(super) fn changed(
        &mut self,
        changed: impl IntoIterator<Item = (Username, (Vec<Username>, Changed))>,
    ) {
        for (user, changed) in changed {
            match self.to_look_up.entry(user) {
                Entry::Occupied(mut entry) => join(entry.get_mut(), changed),
                Entry::Vacant(entry) => {
                    entry.insert(changed);
                }
            }
        }
    }

    pub(super) fn look_up(&mut self, time: Instant) {
        if self.looking_up.is_some() || self.to_look_up.is_empty() || time < self.look_up_at {
            return;
        }
        let asked: Vec<_> = if self.to_look_up.len() <= LOOKUP {
            mem::take(&mut self.to_look_up).into_values().collect()
        } else {
            let some: Vec<_> = self.to_look_up.keys().take(LOOKUP).cloned().collect();
            some.iter().filter_map(|user| self.to_look_up.remove(user)).collect()
        };
        let names = asked.iter().flat_map(|(names, _)| names.iter().cloned()).collect();
        let found = self.devices.of_users(names);
        self.looking_up = Some((asked.len(), found.map(|found| (asked, found)).boxed()));
    }

    pub(super) fn found(&mut self, (asked, found): Found) {
        let Ok(registrations) = found else {
            // Kept by user, and so bounded, until the registry can be read.
            self.look_up_at = now() + LOOKUP_AGAIN;
            self.changed(
                asked
                    .into_iter()
                    .filter_map(|(names, changed)| Some((names.first()?.clone(), (names, changed)))),
            );
            return;
        };
        let mut of_user: HashMap<&Username, Vec<&Registration>> = HashMap::new();
        for registration in &registrations {
            of_user.entry(&registration.key.user).or_default().push(registration);
        }
        for (names, changed) in &asked {
            // A device may have registered under two names of one mailbox.
            let mut devices = HashSet::new();
            let mut is_for_one = false;
            for registration in names.iter().filter_map(|name| of_user.get(name)).flatten() {
                let Key { token, account, .. } = &registration.key;
                if registration.state.is_live()
                    && devices.insert((token, account))
                    && let Some(mut push) = Push::new(registration, changed)
                {
                    // Nearly all have the same topic, and share it: a tenth of what a push takes.
                    if push.topic == self.topic {
                        push.topic.clone_from(&self.topic);
                    } else {
                        self.topic.clone_from(&push.topic);
                    }
                    self.pending.add(push);
                    is_for_one = true;
                }
            }
            if let Some(user) = names.first().filter(|_| !is_for_one) {
                debug!(%user, sink = "apns", reason = "not-asked-for", "nothing to push to {user} through Apple: no device wants to hear of what changed");
            }
        }
    }
}

/// Joins what changed to what waits for the same user.
pub fn join(waiting: &mut (Vec<Username>, Changed), (names, new): (Vec<Username>, Changed)) {
    let (old_names, old) = waiting;
    *old_names = names;
    old.inbox |= new.inbox;
    old.kind = old.kind.max(new.kind);
    old.since = old.since.min(new.since);
    old.events = old.events.saturating_add(new.events);
    for other in new.others {
        if !old.others.contains(&other) {
            old.others.push(other);
        }
    }
}
