//! A receiver that does not read, and a push for everybody: the memory that this takes.

use std::{
    fs::{self, File},
    sync::Arc,
    time::Duration,
};

use crate::{
    Bench, Parts, Result,
    daemon::Daemon,
    daemon_log,
    goals::Goals,
    play::{Ledger, Listener},
    print, progress,
    site::Site,
    system::wait_until_idle,
    table::Table,
    usage::{forget_peak, megabytes, memory_of},
};

const PATIENCE: Duration = Duration::from_secs(120);
const MESSAGE: &str = "1700000000.M1P1.stalled";

pub(crate) fn run(bench: &mut Bench, goals: &mut Goals) -> Result<()> {
    let mut table = Table::new(&[
        "a receiver that does not read",
        "idle, MB",
        "pending, MB",
        "more, MB",
        "the most meanwhile, MB",
        "when all is told, MB",
        "users untold",
    ]);
    for backend in bench.backends() {
        let count = bench.largest(backend)?.min(100_000);
        progress(&format!("stalled receiver: {count} mailboxes with {}", backend.as_str()));
        let Parts { store, .. } = bench.parts(count)?;
        let mailboxes = store.mailboxes(count)?;
        let site = Site::new()?;
        let ledger = Arc::new(Ledger::new(count));
        let listener = Listener::bind(&site.push_notify(), Arc::clone(&ledger))?;
        listener.hold();
        let daemon = Daemon::start(&site, &site.configuration(&mailboxes, backend, "off"), "info")?;
        daemon_log::start(&daemon)?;
        wait_until_idle(daemon.pid(), PATIENCE)?;
        forget_peak(daemon.pid())?;
        let idle = memory_of(daemon.pid())?;
        for user in 0..count {
            let message = mailboxes.maildir(user).join("new").join(MESSAGE);
            ledger.delivery(user, || File::create(message).map(drop))?;
        }
        // It tries to send again and again, which takes next to no time.
        wait_until_idle(daemon.pid(), PATIENCE)?;
        let pending = memory_of(daemon.pid())?;
        listener.release();
        ledger.settle(PATIENCE, || {});
        let untold = ledger.untold().count();
        wait_until_idle(daemon.pid(), PATIENCE)?;
        let after = memory_of(daemon.pid())?;
        drop(daemon);
        for user in 0..count {
            fs::remove_file(mailboxes.maildir(user).join("new").join(MESSAGE))?;
        }

        let more = megabytes(pending.now) - megabytes(idle.now);
        let mb = |bytes| format!("{:.1}", megabytes(bytes));
        let name = format!("{count} users, {}", backend.as_str());
        table.row([
            name.clone(),
            mb(idle.now),
            mb(pending.now),
            format!("{more:.1}"),
            mb(pending.peak),
            mb(after.now),
            untold.to_string(),
        ]);
        goals.add(
            &format!("{name}, pending for a stalled receiver: at most 2 MB more than when idle"),
            format!("{more:.1} MB"),
            more <= 2.0,
        );
        goals.add(
            &format!("{name}: everybody is told when it reads again"),
            format!("{untold} untold"),
            untold == 0,
        );
        bench.untold += untold;
    }
    print(&table.to_string());
    Ok(())
}
