//! Through Apple, as the simulator plays it: a push counts from when the simulator has taken its request, if it has answered it with 200.

use std::time::Duration;

use pushmaild::mailbox::Username;
use pushmaild::registry::sqlite::SqliteStore;
use pushmaild::registry::{Key, Registration, State, Store, Timestamp};

use super::kill::{Killer, Receiver};
use super::{Load, USERS, kills};
use crate::load::{Ledger, Moment, Tree};
use crate::support::{Apns, Config, Daemon, Site};

impl Receiver for Apns {
    fn hang(&mut self) {
        self.tell("slow 3000");
    }

    /// On the wire, and not answered.
    fn wait_until_pushes_wait(&mut self, _daemon: &Daemon) {
        let requests = self.stats().taken;
        crate::support::eventually("a request", || (self.stats().taken > requests).then_some(()));
    }

    fn recover(&mut self) {
        self.tell("slow 0");
    }
}

/// The token of the one device that a user has. None has the token of zeros.
fn token(user: usize) -> String {
    format!("{:064x}", user + 1)
}

fn registration(user: usize) -> Registration {
    Registration {
        key: Key {
            user: Username::new(&Tree::name(user)).expect("a good name"),
            token: token(user).parse().expect("a good token"),
            account: format!("0715A26B-CA09-4730-A419-{user:012}").parse().expect("a good id"),
        },
        subtopic: "com.apple.mobilemail".to_owned(),
        topic: None,
        mailboxes: vec!["INBOX".to_owned()],
        acknowledged: Vec::new(),
        first_registered: Timestamp::now(),
        last_registered: Timestamp::now(),
        last_push: None,
        last_answer: None,
        bad_answers: 0,
        state: State::Active,
    }
}

fn with_apple(config: Config, apns: &Apns) -> Config {
    config
        .without("push-notify")
        .set("apns.certificate", &apns.file("client.pem"))
        .set("apns.ca-file", &apns.file("ca.pem"))
        .set("apns.endpoint", &apns.endpoint())
}

fn note_pushes(apns: &Apns, ledger: &Ledger) {
    let pushes = apns.last_pushes();
    for user in 0..USERS {
        if let Some(time) = pushes.get(&token(user)) {
            // The microsecond was rounded down.
            ledger.told(&Tree::name(user), Moment::from(*time + Duration::from_micros(1)));
        }
    }
}

#[test]
fn nobody_is_left_untold() {
    let site = Site::new();
    let load = Load::new(&site);
    let mut store = SqliteStore::open(&site.path("registry.db")).expect("a database can be made");
    let all: Vec<_> = (0..USERS).map(registration).collect();
    store
        .transaction(&mut |store| all.iter().try_for_each(|one| store.put(one)))
        .expect("a database can be written");
    drop(store);
    let mut apns = Apns::start(site.path("apns"));
    let config = with_apple(load.config(&site), &apns);
    let mut killer = Killer::new(&site, &config, &load.ledger, load.seed);

    load.during(|| killer.kill(kills(), &mut apns));
    let _daemon = site.start(&config);
    load.assert_all_told(kills(), || note_pushes(&apns, &load.ledger));
}
