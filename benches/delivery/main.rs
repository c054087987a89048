//! How long from a delivery to its datagram, and is none lost in a burst? `cargo bench --bench delivery`
//!
//! pushmaild, with two of its backends, runs beside what it is measured against: the smallest C program that does
//! inotify and sendto, and the shell loop around `inotifywait` that people use today. What is measured, and how, is
//! told in `docs/benchmarks.md`; the tables there are what this program prints on stdout.
//!
//! - `-- --quick` does the same in a few seconds, to see that it works.
//! - `-- --all-cpus` leaves the choice of the CPU to the scheduler. The goals are for one CPU.
//!
//! The exit status is 1 when pushmaild left a user untold. A goal of speed that was missed is printed and no more,
//! for a busy machine misses them too.

mod burst;
mod cpu;
mod maildirs;
mod quiet;
mod rival;

#[path = "../common/console.rs"]
mod console;
#[path = "../common/table.rs"]
mod table;

use std::{error::Error, path::Path, process::ExitCode};

use clap::Parser;

use crate::{
    burst::Burst,
    console::{pause, print, progress},
    quiet::Quiet,
    rival::{Kind, Rival, Tools},
    table::Table,
};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// How much is measured.
struct Plan {
    users: usize,
    /// Single deliveries to each rival: this many times [`quiet::TURN`].
    turns: usize,
    /// Deliveries of the burst to each rival.
    burst: usize,
}

const FULL: Plan = Plan { users: 1_000, turns: 80, burst: 200_000 };

const QUICK: Plan = Plan { users: 1_000, turns: 4, burst: 10_000 };

/// How long from a delivery to its datagram? Tables on stdout, progress on stderr.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench delivery --")]
struct Options {
    /// The same in a few seconds, to see that it works; the figures mean little
    #[arg(long)]
    quick: bool,
    /// Leave the choice of the CPU to the scheduler; the goals are for one CPU
    #[arg(long)]
    all_cpus: bool,
    /// cargo bench says so to each benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let plan = if options.quick { QUICK } else { FULL };
    console::exit(run(&plan, !options.all_cpus))
}

/// Measures and prints the tables. Returns the number of users whom pushmaild left untold.
fn run(plan: &Plan, pinned: bool) -> Result<usize> {
    let place = if pinned { format!("all on CPU {}", cpu::pin_to_one()?) } else { "not pinned".to_owned() };
    // The Maildirs lie beside the build, on a disk's file system, as mail does; the usual temporary directory may be
    // a tmpfs. The sockets lie there all the same, for the path of a socket holds 107 bytes and no more.
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let sockets = tempfile::tempdir()?;
    progress(&format!("{place}; Maildirs under {}", disk.path().display()));

    let tools = Tools::build(disk.path())?;
    let mut rivals = Kind::ALL
        .into_iter()
        .map(|kind| start(kind, &tools, disk.path(), sockets.path(), plan.users))
        .collect::<Result<Vec<_>>>()?;

    progress(&format!("single deliveries, {} turns of {} for each", plan.turns, quiet::TURN));
    let quiet = quiet::measure(&mut rivals, plan.turns)?;
    print_quiet(plan, &quiet);

    let mut bursts = Vec::new();
    // The shell loop stays out: it takes minutes for a burst, and loses nine events in ten to overflows.
    for rival in rivals.iter_mut().filter(|rival| rival.kind() != Kind::Shell) {
        progress(&format!("a burst of {} deliveries to {}", plan.burst, rival.kind()));
        bursts.push(burst::measure(rival, plan.burst)?);
        let log = rival.log();
        if rival.kind().is_ours() && !log.is_empty() {
            progress(log.trim_end()); // warnings only: an overflow is one
        }
    }
    print_bursts(plan, &bursts);

    Ok(print_goals(plan, &quiet, &bursts))
}

fn start(kind: Kind, tools: &Tools, disk: &Path, sockets: &Path, users: usize) -> Result<Rival> {
    progress(&format!("starting {kind}"));
    Rival::start(kind, tools, disk, sockets, users).map_err(|error| format!("{kind}: {error}").into())
}

fn print_quiet(plan: &Plan, quiet: &[Quiet]) {
    let base = Quiet::of(quiet, Kind::C);
    let mut table =
        Table::new(&["one delivery at a time", "p50, µs", "p99, µs", "p50 / C", "CPU, µs", "CPU / C"]);
    for row in quiet {
        table.row([
            row.kind.to_string(),
            format!("{:.1}", row.p50()),
            format!("{:.1}", row.p99()),
            format!("{:.2}", row.p50() / base.p50()),
            format!("{:.1}", row.cpu()),
            format!("{:.2}", row.cpu() / base.cpu()),
        ]);
    }
    print(&format!(
        "{} deliveries to each, in turns of {}, for {} users:\n\n{table}",
        plan.turns * quiet::TURN,
        quiet::TURN,
        plan.users
    ));
}

fn print_bursts(plan: &Plan, bursts: &[Burst]) {
    let mut table = Table::new(&[
        "a burst",
        "deliveries/s",
        "datagrams",
        "CPU, µs a delivery",
        "last told after, s",
        "users untold",
    ]);
    for row in bursts {
        table.row([
            row.kind.to_string(),
            format!("{:.0}", row.deliveries_per_second()),
            row.datagrams.to_string(),
            format!("{:.2}", row.cpu_per_delivery()),
            format!("{:.2}", row.longest_wait.as_secs_f64()),
            row.untold.to_string(),
        ]);
    }
    print(&format!(
        "{} deliveries for {} users, as fast as one writer can:\n\n{table}",
        plan.burst, plan.users
    ));
}

/// Returns the number of users whom pushmaild left untold.
fn print_goals(plan: &Plan, quiet: &[Quiet], bursts: &[Burst]) -> usize {
    let ours = || bursts.iter().filter(|burst| burst.kind.is_ours());
    let untold = ours().map(|burst| burst.untold).sum();
    let p50 = |kind| Quiet::of(quiet, kind).p50();
    let against_c = p50(Kind::Inotify) / p50(Kind::C);
    let against_shell = p50(Kind::Shell) / p50(Kind::Inotify);
    let against_notify = p50(Kind::Notify) / p50(Kind::Inotify);

    let mut table = Table::new(&["goal of pushmaild", "measured", ""]);
    let mut goal = |text: &str, measured: String, met: bool| {
        table.row([text.to_owned(), measured, (if met { "met" } else { "**not met**" }).to_owned()]);
    };
    goal("p50 with inotify at most 1.5 times that of C", format!("{against_c:.2}"), against_c <= 1.5);
    goal(
        "p50 at least 20 times shorter than the shell loop's",
        format!("{against_shell:.1}"),
        against_shell >= 20.0,
    );
    goal(
        "p50 at least 2 times shorter than with notify",
        format!("{against_notify:.1}"),
        against_notify >= 2.0,
    );
    goal(
        "each user's last delivery of a burst is followed by a datagram",
        format!("{untold} of {} untold", ours().count() * plan.users),
        untold == 0,
    );
    print(&table.to_string());
    untold
}
