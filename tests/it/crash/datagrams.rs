//! Through the push_notify socket. What the kernel has taken is told, though it be read after the daemon's end.

use std::sync::Arc;

use super::kill::{Killer, Receiver};
use super::{Load, kills};
use crate::load::Listener;
use crate::support::{Daemon, Site};

impl Receiver for Listener {
    fn hang(&mut self) {
        self.hold();
    }

    /// The kernel has taken some ten records.
    fn wait_until_pushes_wait(&mut self, daemon: &Daemon) {
        daemon.wait_log("the receiver is busy");
    }

    fn recover(&mut self) {
        self.release();
    }
}

#[test]
fn nobody_is_left_untold() {
    let site = Site::new();
    let load = Load::new(&site);
    let mut listener =
        Listener::bind(&site.socket(), Arc::clone(&load.ledger)).expect("a socket can be bound");
    let config = load.config(&site);
    let mut killer = Killer::new(&site, &config, &load.ledger, load.seed);

    load.during(|| killer.kill(kills(), &mut listener));
    let _daemon = site.start(&config);
    load.assert_all_told(kills(), || {});
}
