//! What the sources of the map report of names and folders that they cannot take: each thing is logged once, though it is reported
//! whenever they are read.

use std::collections::HashSet;

use tracing::warn;

use crate::mailbox::listing::Notice;

/// Notices logged one by one.
const LOGGED: usize = 10;

#[derive(Default)]
pub(super) struct Notices {
    logged: HashSet<String>,
}

impl Notices {
    /// All sources have been read. What is no longer so may be said again when it comes back.
    pub(super) fn forget_all_but(&mut self, notices: &[Notice]) {
        let still: HashSet<&str> = notices.iter().map(|notice| notice.message.as_str()).collect();
        self.logged.retain(|logged| still.contains(logged.as_str()));
    }

    /// Logs what has not been logged yet.
    pub(super) fn report(&mut self, notices: &[Notice]) {
        let new: Vec<_> =
            notices.iter().filter(|notice| self.logged.insert(notice.message.clone())).collect();
        for notice in new.iter().take(LOGGED) {
            warn!(source = %notice.source, hint = notice.hint, "{}: {}; hint: {}", notice.source, notice.message, notice.hint);
        }
        if new.len() > LOGGED {
            warn!(
                more = new.len() - LOGGED,
                "there are {} more like this; `pushmaild users` lists them all",
                new.len() - LOGGED
            );
        }
    }
}
