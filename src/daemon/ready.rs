//! Everything is watched: what is said of that, to the log and to the service manager.

use std::time::Instant;

use tracing::{debug, info};

use super::Daemon;
use crate::{count::count, service_manager, sink::milliseconds};

impl Daemon {
    pub(super) fn ready(&self, now: Instant) {
        let counts = self.watching.counts();
        let mailboxes = self.pipeline.map.len();
        let backend = self.watching.backend.as_str();
        // A reload that brought no new map has armed nothing either.
        let has_map = self.upkeep.map_since().map_or(now, |since| since.max(self.started));
        let took_ms = milliseconds(now.duration_since(self.started));
        let armed_ms = milliseconds(now.duration_since(has_map));
        let map_ms = took_ms - armed_ms;
        let watches = counts.watches;
        let polled = match counts.polled {
            0 => String::new(),
            polled => format!(" and {} polled", count(polled, "directory", "directories")),
        };
        let all = count(mailboxes, "mailbox", "mailboxes");
        let of_all = match self.pipeline.only_registered {
            true => {
                let registered = self.pipeline.map.ids().filter(|id| self.pipeline.is_wanted(*id)).count();
                format!("{registered} of {all}, those with a registered device,")
            }
            false => all.clone(),
        };
        info!(
            mailboxes,
            watches,
            polled = counts.polled,
            backend,
            took_ms,
            map_ms,
            armed_ms,
            "watching {of_all} with {} of {backend}{polled}, after {map_ms} ms for the map and {armed_ms} ms to arm and compare",
            count(watches, "watch", "watches")
        );
        let found = self.pipeline.planner.found_by_looks();
        debug!(
            found,
            reason = "recorded",
            "directories that are not as they were recorded: {found}; for the others there is nothing to push"
        );
        service_manager::ready(&format!("watching {all} with {backend}"));
    }
}
