//! An outage of Apple's, with a push pending for every phone: memory while it lasts, and its end.

use std::time::{Duration, Instant};

use crate::{
    Plan, Result, client,
    daemon::Daemon,
    drain::THREAD,
    goals::Goals,
    pause, print,
    simulator::Simulator,
    site::Site,
    table::Table,
    usage::{Memory, cpu_of, forget_peak, megabytes, memory_of},
};

/// For what was handed over to become pending.
const SETTLE: Duration = Duration::from_secs(2);
/// MB, of a million bytes.
const MOST: f64 = 50.0;

/// Hints are what makes pushes pending here, for 100,000 deliveries take their time: nothing is watched that could tell of them first.
const WATCH: &str = "[watch]\nbackend = \"poll\"\npoll-interval = \"1h\"\n";

pub(crate) fn run(plan: &Plan, site: &Site, goals: &mut Goals) -> Result<()> {
    let simulator = Simulator::start(site, &["--quiet"])?;
    site.make_registry(plan.outage)?;
    site.make_map(plan.outage)?;
    let mut table = Table::new(&[
        "log",
        "idle, MB",
        "pending, MB",
        "more, MB",
        "the most meanwhile, MB",
        "after it, MB",
        "pushes/s at its end",
        "CPU of the network thread, µs a push",
    ]);
    for log in ["warn", "info"] {
        simulator.tell("refuse-connections")?;
        let configuration = site.configuration(&simulator.folder, &simulator.address, WATCH);
        let daemon = Daemon::start(site, &configuration, log)?;
        pause(SETTLE);
        forget_peak(daemon.pid())?;
        let idle = memory_of(daemon.pid())?;
        client::hint_all(&site.xaps(), plan.outage)?;
        pause(SETTLE);
        let pending = memory_of(daemon.pid())?;
        let cpu_before = cpu_of(daemon.pid(), Some(THREAD))?;
        let so_far = simulator.tell("received")?["received"].as_u64().ok_or("no number")?;

        simulator.tell("accept-connections")?;
        // The daemon dials when the time has come.
        simulator.tell(&format!("wait {}", so_far + 1))?;
        let before = Instant::now();
        simulator.tell(&format!("wait {}", so_far + u64::from(plan.outage)))?;
        let took = before.elapsed().as_secs_f64();
        let cpu = (cpu_of(daemon.pid(), Some(THREAD))? - cpu_before).as_secs_f64() * 1e6;
        if simulator.tokens()? != u64::from(plan.outage) {
            return Err(format!("{} of {} phones have had a push", simulator.tokens()?, plan.outage).into());
        }
        pause(SETTLE);
        let after = memory_of(daemon.pid())?;
        let more = megabytes(pending.now.saturating_sub(idle.now));
        let Memory { now, peak } = pending;
        let mb = |bytes| format!("{:.1}", megabytes(bytes));
        table.row([
            log.to_owned(),
            mb(idle.now),
            mb(now),
            format!("{more:.1}"),
            mb(peak),
            mb(after.now),
            format!("{:.0}", f64::from(plan.outage) / took),
            format!("{:.1}", cpu / f64::from(plan.outage)),
        ]);
        // Of fewer it says nothing: what the daemon needs anyway to wait for Apple would be most of it.
        if log == "warn" && plan.outage >= 100_000 {
            goals.add(
                "100,000 pending pushes in at most 50 MB",
                format!("{more:.1} MB for {}", plan.outage),
                more <= MOST,
            );
        }
    }
    print(&format!("{} pushes that wait for the end of an outage:\n\n{table}", plan.outage));
    Ok(())
}
