//! The start: how long it takes from the map to everything armed and compared, and the memory that it leaves.

use std::{
    collections::hash_map::Entry,
    time::{Duration, Instant},
};

use notify::{RecursiveMode, Watcher};
use pushmaild::registry::{Store as _, sqlite::SqliteStore};

use crate::{
    Bench, Parts, Result,
    c::{Call, Took},
    daemon::Daemon,
    daemon_log,
    goals::Goals,
    mailboxes::Mailboxes,
    pause, print, progress,
    sample::median,
    site::{Site, Sites},
    system::{self, Backend, anonymous_memory, cpu_time, kernel_memory, wait_until_idle},
    table::Table,
    usage::{Memory, megabytes, memory_of},
};

/// For the records of a million mailboxes to be written.
const PATIENCE: Duration = Duration::from_secs(300);

/// One start.
struct Start {
    map: Duration,
    armed: Duration,
    cpu: Duration,
    /// When nothing is left to do.
    memory: Memory,
    /// Of that what is not the program's file.
    own: u64,
    /// What the kernel needs for the watches.
    kernel: Option<u64>,
}

/// What was measured with one backend and one number of mailboxes.
struct Row {
    backend: Backend,
    mailboxes: usize,
    file_system: &'static str,
    first: Start,
    /// From ready to the last record on the disk.
    written: Duration,
    later: Vec<Start>,
    /// The seconds of C, which adds watches, or does that and looks; medians of as many runs as there were later starts.
    watch: f64,
    both: f64,
    /// Are they taken to be proportional, for there were not watches enough?
    is_scaled: bool,
    notify: Option<Duration>,
}

pub(crate) fn run(bench: &mut Bench, goals: &mut Goals) -> Result<()> {
    let mut rows = Vec::new();
    for (backend, count) in bench.sizes()? {
        progress(&format!("start: {count} mailboxes with {}", backend.as_str()));
        let runs = bench.plan.runs;
        let with_notify = backend == Backend::Inotify && count == bench.largest(Backend::Inotify)?;
        let Parts { directories, store, sites, file_system } = bench.parts(count)?;
        let mailboxes = store.mailboxes(count)?;
        let site = Site::new()?;
        let configuration = site.configuration(&mailboxes, backend, "off");
        let some = mailboxes.at_most(system::room_for_watches()?)?;
        let scale = count as f64 / some.count() as f64;

        let (first, daemon) = start(&site, &configuration)?;
        let written = wait_for_records(&site, &daemon, count)?;
        drop(daemon);
        let mut later = Vec::new();
        let (mut watch, mut both) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            // In turns, so that noise hits all alike.
            both.push(directories.run(Call::Both, &some)?);
            watch.push(directories.run(Call::Watch, &some)?);
            later.push(start(&site, &configuration)?.0);
        }
        let notify = with_notify.then(|| watch_with_notify(&mailboxes)).transpose()?;
        sites.insert((backend, count), site);
        let (watch, both) = (scale * wall(&watch), scale * wall(&both));
        let is_scaled = scale > 1.0;
        rows.push(Row {
            backend,
            mailboxes: count,
            file_system,
            first,
            written,
            later,
            watch,
            both,
            is_scaled,
            notify,
        });
    }
    print_rows(&rows);
    rows.iter().for_each(|row| row.judge(goals));
    Ok(())
}

/// Starts a daemon, and measures when it has nothing left to do that takes processor time.
fn start(site: &Site, configuration: &str) -> Result<(Start, Daemon)> {
    let kernel_before = kernel_memory();
    let daemon = Daemon::start(site, configuration, "info")?;
    let cpu = cpu_time(daemon.pid())?;
    let kernel = kernel_before.zip(kernel_memory()).map(|(before, now)| now.saturating_sub(before));
    let [map, armed] = daemon_log::start(&daemon)?;
    wait_until_idle(daemon.pid(), PATIENCE)?;
    let (memory, own) = (memory_of(daemon.pid())?, anonymous_memory(daemon.pid())?);
    Ok((Start { map, armed, cpu, memory, own, kernel }, daemon))
}

/// A site whose registry has the records of all these mailboxes: that of an earlier start, if there was one.
pub(crate) fn settled_site<'a>(
    sites: &'a mut Sites,
    mailboxes: &Mailboxes<'_>,
    backend: Backend,
) -> Result<&'a Site> {
    Ok(match sites.entry((backend, mailboxes.count())) {
        Entry::Occupied(there) => there.into_mut(),
        Entry::Vacant(free) => {
            let site = Site::new()?;
            let (_, daemon) = start(&site, &site.configuration(mailboxes, backend, "off"))?;
            wait_for_records(&site, &daemon, mailboxes.count())?;
            free.insert(site)
        }
    })
}

/// Waits until each mailbox has its record on disk.
fn wait_for_records(site: &Site, daemon: &Daemon, count: usize) -> Result<Duration> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        wait_until_idle(daemon.pid(), PATIENCE)?;
        let mut records = 0;
        SqliteStore::open_read_only(&site.database())?.records(&mut |_, stamps| {
            records += usize::from(stamps.iter().all(Option::is_some));
        })?;
        if records == count {
            return Ok(start.elapsed());
        }
        pause(Duration::from_secs(1));
    }
    Err(format!("not all of {count} mailboxes have a record after {PATIENCE:?}").into())
}

/// The notify crate, `watch()` for each directory.
fn watch_with_notify(mailboxes: &Mailboxes<'_>) -> Result<Duration> {
    progress("the notify crate");
    let paths: Vec<_> = (0..mailboxes.count())
        .flat_map(|user| ["new", "cur"].map(|part| mailboxes.maildir(user).join(part)))
        .collect();
    let start = Instant::now();
    let mut watcher = notify::recommended_watcher(|_| {})?;
    for path in &paths {
        watcher.watch(path, RecursiveMode::NonRecursive)?;
    }
    Ok(start.elapsed())
}

/// The median, in seconds.
fn wall(took: &[Took]) -> f64 {
    median(took.iter().map(|took| took.wall.as_secs_f64()))
}

impl Row {
    fn armed(&self) -> f64 {
        median(self.later.iter().map(|start| start.armed.as_secs_f64()))
    }

    /// The last of the later starts; they hardly differ in this.
    fn last(&self) -> &Start {
        self.later.last().unwrap_or(&self.first)
    }

    /// The least of all starts: others on the machine begin and end to watch as well.
    fn kernel(&self) -> Option<f64> {
        self.later.iter().filter_map(|start| start.kernel).min().map(megabytes)
    }

    fn judge(&self, goals: &mut Goals) {
        let of = format!("{} mailboxes, {}", self.mailboxes, self.backend.as_str());
        let mut goal = |goal: &str, measured: String, met| goals.add(&format!("{of}: {goal}"), measured, met);
        let ratio = self.armed() / self.watch;
        goal(
            "start, warm, at most 1.3 times that of C that only adds watches",
            format!("{ratio:.2}"),
            ratio <= 1.3,
        );
        if let Some(notify) = self.notify {
            let ratio = notify.as_secs_f64() / self.armed();
            goal("start at least 20 times faster than notify 8", format!("{ratio:.1}"), ratio >= 20.0);
        }
        let (rss, peak) = (megabytes(self.last().memory.now), megabytes(self.last().memory.peak));
        // 20 MB are for 100,000 mailboxes, and for those that fit into the limit of watches as many as they are.
        let most =
            if self.backend == Backend::Fanotify && self.mailboxes >= 1_000_000 { 200.0 } else { 20.0 };
        if self.mailboxes >= 50_000 {
            goal(
                &format!("memory at most {most:.0} MB"),
                format!("{rss:.1} MB (at most {peak:.1})"),
                rss <= most,
            );
        }
        if let (Backend::Fanotify, Some(kernel)) = (self.backend, self.kernel()) {
            goal("kernel memory at most 1 MB", format!("{kernel:.2} MB"), kernel <= 1.0);
        }
    }
}

fn print_rows(rows: &[Row]) {
    let seconds = |time: f64| format!("{time:.3}");
    let mut starts = Table::new(&[
        "start, warm",
        "map, s",
        "armed and compared, s",
        "CPU until ready, s",
        "C adds watches, s",
        "ratio",
        "C adds watches and looks, s",
        "notify crate, s",
        "first start: armed, s",
        "all records written after, s",
    ]);
    let mut memory = Table::new(&[
        "memory, MB",
        "after a start",
        "without the program's file",
        "bytes of that a mailbox",
        "the most during it",
        "after the first start",
        "the most during it",
        "kernel",
    ]);
    for row in rows {
        let name = format!("{} mailboxes, {}, {}", row.mailboxes, row.backend.as_str(), row.file_system);
        let last = row.last();
        let about = if row.is_scaled { "≈ " } else { "" };
        let none = || "—".to_owned();
        starts.row([
            name.clone(),
            seconds(last.map.as_secs_f64()),
            seconds(row.armed()),
            seconds(last.cpu.as_secs_f64()),
            format!("{about}{:.3}", row.watch),
            format!("{:.2}", row.armed() / row.watch),
            format!("{about}{:.3}", row.both),
            row.notify.map_or_else(none, |time| seconds(time.as_secs_f64())),
            seconds(row.first.armed.as_secs_f64()),
            format!("{:.1}", row.written.as_secs_f64()),
        ]);
        let mb = |bytes| format!("{:.1}", megabytes(bytes));
        memory.row([
            name,
            mb(last.memory.now),
            mb(last.own),
            format!("{}", last.own / row.mailboxes as u64),
            mb(last.memory.peak),
            mb(row.first.memory.now),
            mb(row.first.memory.peak),
            row.kernel().map_or_else(none, |megabytes| format!("{megabytes:.2}")),
        ]);
    }
    print(&format!("Two directories a mailbox:\n\n{starts}\n{memory}"));
}

/// With nothing in the kernel's caches, when it was asked for.
pub(crate) fn cold(bench: &mut Bench, goals: &mut Goals) -> Result<()> {
    let count = bench.largest(Backend::Inotify)?;
    progress(&format!("start with cold caches: {count} mailboxes"));
    let Parts { directories, store, sites, .. } = bench.parts(count)?;
    let mailboxes = store.mailboxes(count)?;
    let site = settled_site(sites, &mailboxes, Backend::Inotify)?;
    let configuration = site.configuration(&mailboxes, Backend::Inotify, "off");

    // Once before and once after, for a disk that was read just now may be faster.
    system::drop_caches()?;
    let before = directories.run(Call::Watch, &mailboxes)?.wall;
    system::drop_caches()?;
    // The map is not what is measured, and whoever reads it looks at each Maildir.
    let (ours, daemon) = start(site, &configuration)?;
    drop(daemon);
    system::drop_caches()?;
    let after = directories.run(Call::Watch, &mailboxes)?.wall;
    let mut table =
        Table::new(&["start, cold", "map, s", "armed and compared, s", "C adds watches, s", "ratio"]);
    let ratio = ours.armed.as_secs_f64() / before.min(after).as_secs_f64();
    table.row([
        format!("{count} mailboxes, inotify"),
        format!("{:.2}", ours.map.as_secs_f64()),
        format!("{:.2}", ours.armed.as_secs_f64()),
        format!("{:.2}, {:.2}", before.as_secs_f64(), after.as_secs_f64()),
        format!("{ratio:.2}"),
    ]);
    print(&table.to_string());
    goals.add(
        "start, cold, at most 0.25 times that of C with one thread",
        format!("{ratio:.2}"),
        ratio <= 0.25,
    );
    Ok(())
}
