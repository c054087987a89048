//! A large registry: its size, the start of a daemon with it, and look-ups.

use std::time::Instant;

use crate::{
    Plan, Result,
    daemon::Daemon,
    device,
    goals::Goals,
    print, progress, pushes,
    sample::Sample,
    simulator::Simulator,
    site::Site,
    table::Table,
    usage::{megabytes, memory_of},
};

/// Look-ups, each of one user.
const LOOKUPS: usize = 20_000;
/// Users whose mail is on this machine.
const HERE: u32 = 5;

pub(crate) fn run(plan: &Plan, site: &Site, _goals: &mut Goals) -> Result<()> {
    let simulator = Simulator::start(site, &["--quiet"])?;
    let before = Instant::now();
    site.make_registry(plan.million)?;
    progress(&format!("made in {:.0} s", before.elapsed().as_secs_f64()));
    let size = site.database_size();
    site.make_map(HERE)?;

    let watch = "[watch]\nmailboxes = \"registered\"";
    let daemon =
        Daemon::start(site, &site.configuration(&simulator.folder, &simulator.address, watch), "warn")?;
    let start = daemon.start;
    let at_ready = memory_of(daemon.pid())?;
    // The first push, once the registry has told who was pushed to within the last hour.
    let before = Instant::now();
    crate::client::hint_all(&site.xaps(), 1)?;
    simulator.tell("wait 1")?;
    let first_push = before.elapsed();
    let after = memory_of(daemon.pid())?;
    drop(daemon);

    let registry = pushes::registry(site)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut random = fastrand::Rng::with_seed(2);
    let mut waits = Vec::with_capacity(LOOKUPS);
    // The first one opens the database.
    runtime.block_on(registry.of_users(vec![device::username(0)?]))?;
    for _ in 0..LOOKUPS {
        let user = device::username(random.u32(..plan.million))?;
        let before = Instant::now();
        let found = runtime.block_on(registry.of_users(vec![user]))?;
        waits.push(before.elapsed());
        if found.len() != 1 {
            return Err("a registration is not found".into());
        }
    }
    let waits = Sample::new(waits);

    let mut table = Table::new(&[&format!("{} registrations", plan.million), "measured"]);
    let mut row = |name: &str, measured: String| table.row([name.to_owned(), measured]);
    row("database, MB", format!("{:.0}", megabytes(size)));
    row("bytes a registration", format!("{:.0}", size as f64 / f64::from(plan.million)));
    row("from the start until ready, s", format!("{:.2}", start.as_secs_f64()));
    row("from there to the first push, s", format!("{:.2}", first_push.as_secs_f64()));
    row("look-up of one user, p50, µs", format!("{:.0}", waits.percentile(50)));
    row("look-up of one user, p99, µs", format!("{:.0}", waits.percentile(99)));
    row("memory of the daemon when ready, MB", format!("{:.0}", megabytes(at_ready.now)));
    row("memory after the first push, MB", format!("{:.0}", megabytes(after.now)));
    row("the most it ever had, MB", format!("{:.0}", megabytes(after.peak)));
    print(&table.to_string());
    Ok(())
}
