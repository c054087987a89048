//! What the network thread tells the one that watches Maildirs: who has a device, and what plugins say happened.

use std::{path::PathBuf, time::Instant};

use tracing::debug;

use super::{Daemon, network::FromNetwork};
use crate::{
    listener::intake::{Hint, MaildirOf},
    registry::service::Live,
};

impl Daemon {
    /// Takes what the network thread has to tell.
    pub(super) fn told(&mut self, told: FromNetwork) {
        let now = Instant::now();
        let Self { watching, pipeline, upkeep, keeper, .. } = self;
        match told {
            FromNetwork::Live(live) => {
                let Some(apns) = &mut pipeline.sinks.apns else { return };
                let mut concerned = Vec::new();
                // First everybody, then what came since then of one or the other.
                if let Some(Live::All(users) | Live::Unread(users)) = live.get(&None) {
                    let is_all = matches!(live.get(&None), Some(Live::All(_)));
                    apns.registered().set_all(users.iter(), is_all);
                    concerned.extend(pipeline.map.ids().map(|id| (id, false)));
                }
                for (user, live) in &live {
                    if let (Some(user), Live::User(has_device)) = (user, live)
                        && apns.registered().set(user, *has_device)
                    {
                        concerned.extend(pipeline.map.by_name(user.as_str()).map(|id| (id, *has_device)));
                    }
                }
                apns.offer_early(&pipeline.map, now);
                if pipeline.only_registered {
                    upkeep.watch_wanted(concerned, watching, pipeline, keeper);
                }
            }
            FromNetwork::Hints(hints) => {
                for (user, Hint { inbox, others }) in hints {
                    let Some(id) = pipeline.map.by_name(user.as_str()) else {
                        debug!(%user, reason = "unknown-user", "nothing to push for {user}, of whom a plugin tells: there is no such user in the map");
                        continue;
                    };
                    // What happens to a watched INBOX is known already; nothing is pushed twice.
                    match inbox {
                        Some(_) if watching.has_events(id) => {
                            debug!(%user, reason = "watched", "what a plugin tells of {user} is left to the watch");
                        }
                        Some(kind) => pipeline.note(id, kind, now),
                        None => {}
                    }
                    if !others.is_empty() {
                        pipeline.note_others(id, others, now);
                    }
                }
            }
            FromNetwork::Question(MaildirOf { user, reply }) => {
                let id = pipeline.map.by_name(user.as_str());
                let maildir = id.and_then(|id| pipeline.map.maildir(id)).map(PathBuf::from);
                // A client that did not wait is gone.
                let _ = reply.send(maildir);
            }
        }
    }
}
