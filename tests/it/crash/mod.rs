//! Killed with SIGKILL at random instants, again and again, while mail comes and is read: afterwards each user's last change was
//! followed by a push. Somebody told twice is no fault.
//!
//! `CRASH_KILLS` is how often, and `CRASH_SEED` draws what a run has drawn before; docs/load.md has the command for a long run.

mod apple;
mod datagrams;
mod kill;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::load::{Ledger, Mix, Pace, Player, Tree};
use crate::support::{Config, PATIENCE, Site, from_environment};

/// In a run that belongs to all tests: each instant comes five times.
const KILLS: usize = 30;
const USERS: usize = 150;
/// Events a second, so that each mailbox is quiet for a while between two and pushes wait for that.
const RATE: f64 = 400.0;

fn kills() -> usize {
    from_environment("CRASH_KILLS").unwrap_or(KILLS)
}

/// Other instants each day; and said when the test fails, so that it can be the same ones again.
fn seed() -> u64 {
    from_environment("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..))
}

/// Mailboxes to which things happen.
struct Load {
    tree: Tree,
    ledger: Arc<Ledger>,
    seed: u64,
}

impl Load {
    fn new(site: &Site) -> Self {
        let tree = Tree::new(site.path("mail"), USERS);
        tree.make(1, 2, &Default::default()).expect("mailboxes can be made");
        Self { ledger: Arc::new(Ledger::new(USERS)), tree, seed: seed() }
    }

    /// With a database for the records, and intervals so short that each kill finds some that run.
    fn config(&self, site: &Site) -> Config {
        site.config()
            .set("mailboxes.mail-location", &self.tree.mail_location())
            .set("registry.url", "sqlite:registry.db")
            .set("watch.sweep-interval", "off")
            .set("debounce.change-quiet", "200ms")
            .set("debounce.change-max-wait", "1s")
    }

    /// Lets things happen for as long as `work` takes.
    fn during(&self, work: impl FnOnce()) {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let player = scope.spawn(|| {
                let mut player = Player::new(&self.tree, &self.ledger, Mix::default(), self.seed);
                player.play(&Pace::new(RATE), &|_| is_over.load(Ordering::Relaxed))
            });
            let end = AtEnd(&is_over);
            work();
            drop(end);
            player.join().expect("no panic").expect("messages can be moved about");
        });
    }

    /// Waits until everybody is told; `look` may bring what there is to know about it.
    #[track_caller]
    fn assert_all_told(&self, kills: usize, look: impl Fn()) {
        self.ledger.settle(PATIENCE, &look);
        look();
        let untold: Vec<_> = self.ledger.untold().map(Tree::name).collect();
        let (changes, seed) = (self.ledger.changes(), self.seed);
        assert!(
            untold.is_empty(),
            "{} of {} users are not told after {kills} kills in {changes} changes, with CRASH_SEED={seed}: {untold:?}",
            untold.len(),
            self.ledger.users_changed(),
        );
        let enough = self.ledger.users_changed() > USERS / 2;
        assert!(enough, "only {} users had a change", self.ledger.users_changed());
    }
}

/// Says that it is over, even if what came before has panicked.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
