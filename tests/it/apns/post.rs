//! The real daemon, the simulator of Apple over real TLS, and some users who have a phone each.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pushmaild::registry::sqlite::SqliteStore;
use pushmaild::registry::{Registration, Store, Timestamp};

use super::accounts::{key, registration, user};
use crate::support::{Apns, Config, Daemon, PATIENCE, Site, patiently};

/// A mail server whose users have phones.
pub(super) struct Post {
    pub(super) site: Site,
    pub(super) apns: Apns,
    users: u64,
}

impl Post {
    /// With the simulator running, and the daemon not yet.
    pub(super) fn new(users: u64) -> Self {
        let site = Site::new();
        let apns = Apns::start(site.path("apns"));
        let mut store = SqliteStore::open(&site.path("registry.db")).unwrap();
        let at = Timestamp::now();
        let new = |number| Registration { topic: None, last_registered: at, ..registration(number) };
        let all: Vec<_> = (0..users).map(new).collect();
        store.transaction(&mut |store| all.iter().try_for_each(|one| store.put(one))).unwrap();
        for number in 0..users {
            site.maildir(user(number).as_str()).age();
        }
        let post = Self { site, apns, users };
        post.take("client.pem");
        post
    }

    /// Puts one of the simulator's credentials, or another file, in the place of the daemon's, by a rename.
    pub(super) fn take(&self, credential: impl AsRef<Path>) {
        let beside = self.site.path("next.pem");
        fs::copy(self.apns.dir().join(credential), &beside).unwrap();
        fs::rename(beside, self.certificate()).unwrap();
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.site.path("push.pem")
    }

    pub(super) fn config(&self) -> Config {
        Config::empty(self.site.path("pushmaild.toml"))
            .set("mailboxes.mail-location", &self.site.mail_location())
            .set("debounce.new-mail-interval", "100ms")
            .set("registry.url", &format!("sqlite://{}", self.site.path("registry.db").display()))
            .set("apns.certificate", &self.certificate().to_string_lossy())
            .set("apns.environment", "production")
            .set("apns.endpoint", &self.apns.endpoint())
            .set("apns.ca-file", &self.apns.file("ca.pem"))
    }

    #[track_caller]
    pub(super) fn start(&self) -> Daemon {
        self.site.start(&self.config())
    }

    /// One message for each user.
    pub(super) fn deliver(&self) {
        for number in 0..self.users {
            self.site.maildir(user(number).as_str()).deliver();
        }
    }

    /// Waits until each device has been pushed to, so often, and says how long that took.
    #[track_caller]
    pub(super) fn all_pushed(&self, times: usize) -> Duration {
        let start = Instant::now();
        if patiently(|| self.lost(times).is_empty().then_some(())).is_none() {
            panic!("not {times} pushes each within {PATIENCE:?} for {:?}", self.lost(times));
        }
        start.elapsed()
    }

    /// Whose devices have had fewer accepted pushes.
    fn lost(&self, times: usize) -> Vec<u64> {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for push in self.apns.received().into_iter().filter(|push| push.status == 200) {
            *count.entry(push.token.unwrap_or_default()).or_default() += 1;
        }
        let has_fewer =
            |number: &u64| count.get(&key(*number).token.to_hex()).is_none_or(|count| *count < times);
        (0..self.users).filter(has_fewer).collect()
    }

    /// When a device was last pushed to, by the registry.
    pub(super) fn is_noted(&self, number: u64) -> bool {
        let mut store = SqliteStore::open_read_only(&self.site.path("registry.db")).unwrap();
        store.of_user(&user(number)).unwrap()[0].last_push.is_some()
    }
}
