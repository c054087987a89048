//! One daemon from its start to its end by SIGKILL.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::load::Ledger;
use crate::support::{Config, Daemon, Site, eventually};

/// When the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// At any time of the start: while the mailboxes are watched and compared, at times before that.
    Start,
    /// Just when it says that it is ready.
    Ready,
    /// Some time later, with pushes that wait for quiet.
    Later,
    /// Right after a change, when its event may have been read or not.
    Change,
    /// While the receiver takes nothing, and pushes wait for it.
    Hang,
    /// Within a reload.
    Reload,
}

impl Point {
    const ALL: [Self; 6] = [Self::Start, Self::Ready, Self::Later, Self::Change, Self::Hang, Self::Reload];

    /// So many in random order, each as often as the others.
    pub(super) fn draw(count: usize, random: &mut fastrand::Rng) -> Vec<Self> {
        let mut points: Vec<_> = Self::ALL.into_iter().cycle().take(count).collect();
        random.shuffle(&mut points);
        points
    }
}

/// What takes the pushes, and can be made to hang.
pub(super) trait Receiver {
    fn hang(&mut self);
    /// Waits until the daemon has something that it cannot get rid of.
    fn wait_until_pushes_wait(&mut self, daemon: &Daemon);
    fn recover(&mut self);
}

/// Starts daemons and kills them.
pub(super) struct Killer<'a> {
    site: &'a Site,
    config: &'a Config,
    ledger: &'a Ledger,
    random: fastrand::Rng,
    /// How long a start takes.
    start: Duration,
}

impl<'a> Killer<'a> {
    /// The first start has nothing to compare with and tells nothing. It is over, and its records are written, before the load begins.
    pub(super) fn new(site: &'a Site, config: &'a Config, ledger: &'a Ledger, seed: u64) -> Self {
        let start = Instant::now();
        let daemon = site.start(config);
        let start = start.elapsed();
        daemon.stop();
        Self { site, config, ledger, random: fastrand::Rng::with_seed(seed), start }
    }

    /// Starts a daemon as often as asked, and kills it each time.
    pub(super) fn kill(&mut self, times: usize, receiver: &mut impl Receiver) {
        for point in Point::draw(times, &mut self.random) {
            // Something happens while it does not run.
            self.pass(Duration::from_millis(100));
            self.kill_at(point, receiver);
        }
    }

    fn kill_at(&mut self, point: Point, receiver: &mut impl Receiver) {
        if point == Point::Start {
            let daemon = self.site.launch(self.config).spawn();
            self.pass(self.start);
            return end(daemon);
        }
        if point == Point::Hang {
            receiver.hang();
        }
        let daemon = self.site.start(self.config);
        match point {
            Point::Start | Point::Ready => {}
            Point::Later => self.pass(Duration::from_millis(500)),
            Point::Change => {
                let changes = self.ledger.changes() + self.random.u64(1..100);
                eventually("changes", || (self.ledger.changes() >= changes).then_some(()));
            }
            Point::Hang => {
                receiver.wait_until_pushes_wait(&daemon);
                self.pass(Duration::from_millis(200));
            }
            Point::Reload => {
                self.pass(Duration::from_millis(200));
                daemon.signal(Signal::HUP);
                self.pass(Duration::from_millis(30));
            }
        }
        end(daemon);
        if point == Point::Hang {
            receiver.recover();
        }
    }

    /// Lets a time pass that is drawn, up to this one.
    #[expect(
        clippy::disallowed_methods,
        reason = "the instant of a kill is drawn, there is nothing to wait for"
    )]
    fn pass(&mut self, longest: Duration) {
        thread::sleep(longest.mul_f64(self.random.f64()));
    }
}

fn end(daemon: Daemon) {
    daemon.signal(Signal::KILL);
    // Waits for its end.
    drop(daemon);
}
