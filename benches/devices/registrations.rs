//! Registrations a second through the Unix socket. Each is on disk before it is answered.

use crate::{
    Plan, Result, client, daemon::Daemon, fsync, goals::Goals, print, progress, sample::median,
    simulator::Simulator, site::Site, table::Table,
};

/// Clients at a time: as many IMAP sessions that begin together, on a large server.
const CONNECTIONS: u32 = 200;

pub(crate) fn run(plan: &Plan, site: &Site, goals: &mut Goals) -> Result<()> {
    let simulator = Simulator::start(site, &["--quiet"])?;
    site.make_map(1)?;
    let folder = site.database();
    let folder = folder.parent().ok_or("a file is in a folder")?;
    let daemon = Daemon::start(site, &site.configuration(&simulator.folder, &simulator.address, ""), "warn")?;
    let (mut syncs, mut alone, mut waits, mut together) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut next = 0;
    let mut phones = |count| {
        next += count;
        next - count..next
    };
    for _ in 0..plan.runs {
        syncs.push(fsync::measure(folder, plan.registrations_one_by_one.min(1_000))?.percentile(50));
        let one_by_one = client::one_by_one(&site.xaps(), phones(plan.registrations_one_by_one))?;
        alone.push(one_by_one.rate());
        waits.push(one_by_one.percentile(50));
        let took = client::many(&site.xaps(), CONNECTIONS, phones(plan.registrations))?;
        together.push(f64::from(plan.registrations) / took.as_secs_f64());
        progress(&format!(
            "{:.0} alone, {:.0} together",
            alone[alone.len() - 1],
            together[together.len() - 1]
        ));
    }
    let log = daemon.log();
    if !log.is_empty() {
        return Err(format!("the daemon complains: {log}").into());
    }
    let (sync, alone, wait, together) = (median(syncs), median(alone), median(waits), median(together));
    let bare = 1e6 / sync;
    let mut table = Table::new(&["registrations", "a second", "times the bare loop's", "p50, µs"]);
    let file_system = fsync::file_system(folder);
    table.row([
        format!("a bare loop of write and fdatasync, {file_system}"),
        format!("{bare:.0}"),
        "1.00".to_owned(),
        format!("{sync:.0}"),
    ]);
    table.row([
        "one client that waits for each answer".to_owned(),
        format!("{alone:.0}"),
        format!("{:.2}", alone / bare),
        format!("{wait:.0}"),
    ]);
    table.row([
        format!("{CONNECTIONS} clients, each of which waits"),
        format!("{together:.0}"),
        format!("{:.2}", together / bare),
        format!("{:.0}", 1e6 * f64::from(CONNECTIONS) / together),
    ]);
    print(&format!(
        "{} registrations together, median of {} runs:\n\n{table}",
        plan.registrations, plan.runs
    ));
    goals.add("10,000 registrations a second, many clients", format!("{together:.0}"), together >= 10_000.0);
    goals.add("1,000 registrations a second, one client", format!("{alone:.0}"), alone >= 1_000.0);
    Ok(())
}
