//! How fast is the way from a registration to a push? `cargo bench --bench devices`
//!
//! The shipped code and the real daemon push to `examples/apns-simulator`, beside what they are measured against: h2load on the
//! same server, the datagram sink in the same daemon, a bare loop of fdatasync(2) on the same file system. What is measured, and
//! how, is told in `docs/benchmarks.md`; the tables there are what this program prints on stdout.
//!
//! - `-- --quick` does all of it with little, to see that it works.
//! - `-- pushes latency registrations million outage`, or some of these, measures only that.
//!
//! The exit status is 1 when something did not work: a push that did not arrive, a registration that was not answered. A goal of
//! speed that was missed is printed and no more, for a busy machine misses them too.

mod client;
mod device;
mod drain;
mod fsync;
mod h2load;
mod latency;
mod million;
mod outage;
mod pushes;
mod registrations;
mod simulator;
mod site;

#[path = "../common/console.rs"]
mod console;
#[path = "../common/daemon.rs"]
mod daemon;
#[path = "../common/goals.rs"]
mod goals;
#[path = "../common/sample.rs"]
mod sample;
#[path = "../common/table.rs"]
mod table;
#[path = "../common/usage.rs"]
mod usage;

use std::{error::Error, process::ExitCode};

use clap::Parser;

use crate::{
    console::{pause, print, progress},
    goals::Goals,
    site::Site,
};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// How much is measured.
struct Plan {
    /// Pushes of one run with many streams, and with one; how many runs of each.
    pushes: u32,
    pushes_one_by_one: u32,
    runs: usize,
    /// Single deliveries.
    deliveries: u32,
    /// Registrations from many connections at a time, and one after the other.
    registrations: u32,
    registrations_one_by_one: u32,
    /// Registrations in the large registry.
    million: u32,
    /// Devices with a push that waits for the end of an outage.
    outage: u32,
}

const FULL: Plan = Plan {
    pushes: 50_000,
    pushes_one_by_one: 10_000,
    runs: 5,
    deliveries: 1_000,
    registrations: 50_000,
    registrations_one_by_one: 5_000,
    million: 1_000_000,
    outage: 100_000,
};

const QUICK: Plan = Plan {
    pushes: 5_000,
    pushes_one_by_one: 500,
    runs: 1,
    deliveries: 50,
    registrations: 2_000,
    registrations_one_by_one: 200,
    million: 20_000,
    outage: 5_000,
};

/// One thing to measure.
type Measure = fn(&Plan, &Site, &mut Goals) -> Result<()>;

const ALL: [(&str, Measure); 5] = [
    ("pushes", pushes::run),
    ("latency", latency::run),
    ("registrations", registrations::run),
    ("million", million::run),
    ("outage", outage::run),
];

/// How fast is the way from a registration to a push? Tables on stdout, progress on stderr.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench devices --")]
struct Options {
    /// All of it with little, to see that it works; the figures mean little
    #[arg(long)]
    quick: bool,
    /// Measure only these
    #[arg(value_parser = ALL.map(|(name, _)| name))]
    only: Vec<String>,
    /// cargo bench says so to each benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    // Nobody is told or left untold here: what does not work is an error.
    console::exit(run(&Options::parse()).map(|()| 0))
}

fn run(options: &Options) -> Result<()> {
    let plan = if options.quick { &QUICK } else { &FULL };
    let mut goals = Goals::default();
    simulator::build()?;
    for (name, measure) in ALL {
        if options.only.is_empty() || options.only.iter().any(|it| it == name) {
            progress(name);
            let site = Site::new(name)?;
            measure(plan, &site, &mut goals).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    print(&goals.to_string());
    Ok(())
}
