//! A look at all mailboxes while the daemon runs: the sweep, and what follows an overflow; against a bare statx of the same directories.

use std::{fs, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Bench, ON_DISK, Parts, Result,
    c::Call,
    daemon::Daemon,
    daemon_log,
    goals::Goals,
    play::{Ledger, Listener},
    print, progress,
    sample::median,
    start,
    system::{Backend, cpu_time, wait_until_idle},
    table::Table,
};

/// For the sweep to come and for what it finds to be done.
const PATIENCE: Duration = Duration::from_secs(180);
const TOLD_WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn run(bench: &mut Bench, goals: &mut Goals) -> Result<()> {
    let mut table = Table::new(&[
        "rescan",
        "statx in C, s",
        "CPU, s",
        "sweep, s",
        "ratio",
        "µs a mailbox",
        "CPU with the map's source, s",
        "ratio",
    ]);
    for (backend, count) in bench.sizes()? {
        progress(&format!("rescan: {count} mailboxes with {}", backend.as_str()));
        let runs = bench.plan.runs;
        let Parts { directories, store, sites, file_system } = bench.parts(count)?;
        let mailboxes = store.mailboxes(count)?;
        let site = start::settled_site(sites, &mailboxes, backend)?;
        let statx =
            (0..runs).map(|_| directories.run(Call::Statx, &mailboxes)).collect::<Result<Vec<_>>>()?;
        let wall = median(statx.iter().map(|took| took.wall.as_secs_f64()));
        let cpu = median(statx.iter().map(|took| took.cpu.as_secs_f64()));

        let sweeps = if count > ON_DISK { "60s" } else { "8s" };
        let daemon = Daemon::start(site, &site.configuration(&mailboxes, backend, sweeps), "debug")?;
        daemon_log::start(&daemon)?;
        wait_until_idle(daemon.pid(), PATIENCE)?;
        // The first one may have come during the start.
        let known = daemon.log().lines().count();
        let before = cpu_time(daemon.pid())?;
        let line = daemon_log::wait_for(&daemon, " mailboxes were compared in ", known, PATIENCE)?;
        let took = daemon_log::took(&line)?.as_secs_f64();
        wait_until_idle(daemon.pid(), PATIENCE)?;
        let used = (cpu_time(daemon.pid())? - before).as_secs_f64();
        table.row([
            format!("{count} mailboxes, {}, {file_system}", backend.as_str()),
            format!("{wall:.3}"),
            format!("{cpu:.3}"),
            format!("{took:.3}"),
            format!("{:.2}", took / wall),
            format!("{:.2}", took * 1e6 / count as f64),
            format!("{used:.3}"),
            format!("{:.2}", used / cpu),
        ]);
    }
    print(&table.to_string());
    overflow(bench, goals)
}

/// More events than the queue holds, all of one mailbox, while the daemon stands still.
fn overflow(bench: &mut Bench, goals: &mut Goals) -> Result<()> {
    let count = bench.largest(Backend::Inotify)?;
    progress(&format!("overflow: {count} mailboxes"));
    let Parts { directories, store, sites, .. } = bench.parts(count)?;
    let mailboxes = store.mailboxes(count)?;
    let site = start::settled_site(sites, &mailboxes, Backend::Inotify)?;
    let ledger = Arc::new(Ledger::new(count));
    let _listener = Listener::bind(&site.push_notify(), Arc::clone(&ledger))?;
    let daemon = Daemon::start(site, &site.configuration(&mailboxes, Backend::Inotify, "off"), "info")?;
    daemon_log::start(&daemon)?;
    wait_until_idle(daemon.pid(), PATIENCE)?;
    let statx = directories.run(Call::Statx, &mailboxes)?;

    let pid = Pid::from_raw(daemon.pid().try_into()?).ok_or("no process has the number 0")?;
    kill_process(pid, Signal::STOP)?;
    let flooded = flood(&mailboxes.maildir(0), &ledger);
    kill_process(pid, Signal::CONT)?;
    flooded?;
    let line = daemon_log::wait_for(&daemon, " mailboxes have been looked at, in ", 0, PATIENCE)?;
    let took = daemon_log::took(&line)?;
    ledger.settle(TOLD_WITHIN, || {});
    let untold = ledger.untold().count();
    bench.untold += untold;

    let ratio = took.as_secs_f64() / statx.wall.as_secs_f64();
    goals.add(
        &format!("{count} mailboxes: the look after an overflow at most 2 times a bare statx"),
        format!("{ratio:.2} ({:.3} to {:.3} s)", took.as_secs_f64(), statx.wall.as_secs_f64()),
        ratio <= 2.0,
    );
    goals.add("everybody is told after an overflow", format!("{untold} untold"), untold == 0);
    Ok(())
}

/// Moves a message to and fro, which are two events each time, and takes it away.
fn flood(maildir: &std::path::Path, ledger: &Ledger) -> Result<()> {
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?.trim().parse()?;
    let names =
        [":2,", ":2,S"].map(|flags| maildir.join("cur").join(format!("1700000000.M1P1.scale{flags}")));
    fs::write(&names[0], "")?;
    for number in 0..queue / 2 + 100 {
        fs::rename(&names[number % 2], &names[(number + 1) % 2])?;
    }
    ledger.change(0, || names.iter().filter(|name| name.exists()).try_for_each(fs::remove_file))?;
    Ok(())
}
