//! What `benches/delivery` measures as well, with pushmaild's inotify against C only: a lone delivery, pinned to one CPU, and a burst.

use std::time::Instant;

use crate::{
    Bench, Result,
    burst::{self, Burst},
    cpu,
    goals::Goals,
    maildirs::Maildirs,
    print, progress,
    quiet::{self, Quiet},
    rival::{Kind, Rival, Tools},
    sample::median,
    site::Site,
    table::Table,
};

const USERS: usize = 1000;

fn rivals(site: &Site) -> Result<Vec<Rival>> {
    let tools = Tools::build(site.folder())?;
    let start = |kind| Rival::start(kind, &tools, site.folder(), site.sockets(), USERS);
    [Kind::C, Kind::Inotify].into_iter().map(start).collect()
}

/// Pins this process for the rest of its life, so it comes last.
pub(crate) fn lone(bench: &mut Bench, goals: &mut Goals) -> Result<()> {
    let turns = bench.plan.turns;
    let cpu = cpu::pin_to_one()?;
    progress(&format!("single deliveries, {turns} turns of {} for each, all on CPU {cpu}", quiet::TURN));
    let site = Site::new()?;
    let all = quiet::measure(&mut rivals(&site)?, turns)?;
    let (c, ours) = (Quiet::of(&all, Kind::C), Quiet::of(&all, Kind::Inotify));
    let mut table = Table::new(&[
        "one delivery at a time, one CPU",
        "p50, µs",
        "p99, µs",
        "p50 / C",
        "CPU, µs",
        "CPU / C",
    ]);
    for row in [c, ours] {
        table.row([
            row.kind.to_string(),
            format!("{:.1}", row.p50()),
            format!("{:.1}", row.p99()),
            format!("{:.2}", row.p50() / c.p50()),
            format!("{:.1}", row.cpu()),
            format!("{:.2}", row.cpu() / c.cpu()),
        ]);
    }
    print(&table.to_string());
    let (p50, cpu) = (ours.p50() / c.p50(), ours.cpu() / c.cpu());
    goals.add(
        "delivery to datagram, one CPU: p50 at most 1.3 times that of C",
        format!("{p50:.2}"),
        p50 <= 1.3,
    );
    goals.add("CPU of a lone delivery at most 1.5 times that of C", format!("{cpu:.2}"), cpu <= 1.5);
    Ok(())
}

pub(crate) fn bursts(bench: &mut Bench, goals: &mut Goals) -> Result<()> {
    let deliveries = bench.plan.burst;
    let site = Site::new()?;
    progress(&format!("bursts of {deliveries} deliveries"));
    let mut maildirs = Maildirs::create(site.folder().join("unwatched"), USERS)?;
    // Before, between and after those that are watched, for the disk is not the same all the time.
    let mut alone = vec![unwatched(&mut maildirs, deliveries)?];
    let mut bursts = Vec::new();
    for mut rival in rivals(&site)? {
        bursts.push(burst::measure(&mut rival, deliveries)?);
        alone.push(unwatched(&mut maildirs, deliveries)?);
    }
    let alone = median(alone);
    let mut table = Table::new(&[
        "a burst",
        "µs a delivery",
        "slowdown",
        "CPU, µs an event",
        "datagrams",
        "last told after, s",
        "untold",
    ]);
    table.row([
        "nobody watches".to_owned(),
        format!("{alone:.2}"),
        "1.00".to_owned(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    ]);
    for burst in bursts {
        // A delivery is one event: it comes from `tmp/`, which nobody watches.
        let slowdown = took(&burst) / alone;
        table.row([
            burst.kind.to_string(),
            format!("{:.2}", took(&burst)),
            format!("{slowdown:.2}"),
            format!("{:.2}", burst.cpu_per_delivery()),
            burst.datagrams.to_string(),
            format!("{:.2}", burst.longest_wait.as_secs_f64()),
            burst.untold.to_string(),
        ]);
        if burst.kind.is_ours() {
            bench.untold += burst.untold;
            let cpu = burst.cpu_per_delivery();
            goals.add("burst: CPU an event at most 1 µs", format!("{cpu:.2} µs"), cpu <= 1.0);
            goals.add(
                "burst: the deliverer is at most 1.6 times slower than with nobody watching",
                format!("{slowdown:.2}"),
                slowdown <= 1.6,
            );
            goals.add("burst: everybody is told", format!("{} untold", burst.untold), burst.untold == 0);
        }
    }
    print(&format!(
        "{deliveries} deliveries for {USERS} users, as fast as one writer can, on all CPUs:\n\n{table}"
    ));
    Ok(())
}

/// Microseconds.
fn took(burst: &Burst) -> f64 {
    1e6 / burst.deliveries_per_second()
}

/// The same deliveries with nobody watching: microseconds for each.
fn unwatched(maildirs: &mut Maildirs, deliveries: usize) -> Result<f64> {
    let to = burst::users(USERS, deliveries);
    let messages = maildirs.link_messages(&to)?;
    let start = Instant::now();
    for message in &messages {
        message.deliver()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / deliveries as f64)
}
