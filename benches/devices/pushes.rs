//! Pushes a second on one connection, and the time on the CPU that each takes.

use pushmaild::{
    config::Config,
    registry::{
        Store,
        change::DEVICES_PER_USER,
        service::{Registry, Settings, spill_path},
        sqlite::SqliteStore,
    },
};

use crate::{
    Plan, Result,
    drain::{self, Drained},
    goals::Goals,
    h2load, print, progress,
    sample::median,
    simulator::Simulator,
    site::Site,
    table::Table,
};

/// Requests at a time. The pusher stays below 200 of itself, and takes what the server offers.
const IN_FLIGHT: [u32; 3] = [1, 100, 200];

pub(crate) fn run(plan: &Plan, site: &Site, goals: &mut Goals) -> Result<()> {
    let simulator = Simulator::start(site, &["--quiet"])?;
    site.make_registry(plan.pushes)?;
    site.make_map(1)?;
    let path = site.file("pushmaild.toml");
    std::fs::write(&path, site.configuration(&simulator.folder, &simulator.address, ""))?;
    let config = Config::load(&path)?;
    let registry = registry(site)?;

    let mut table = Table::new(&[
        "pushes a second, one connection",
        "h2load",
        "pushmaild",
        "pushmaild / h2load",
        "CPU of the pusher, µs a push",
        "of the registry's notes",
    ]);
    for in_flight in IN_FLIGHT {
        simulator.tell(&format!("streams {in_flight}"))?;
        let phones = if in_flight == 1 { plan.pushes_one_by_one } else { plan.pushes };
        let (mut h2load, mut ours) = (Vec::new(), Vec::<Drained>::new());
        for _ in 0..plan.runs {
            h2load.push(h2load::measure(site, &simulator, phones, in_flight)?);
            ours.push(drain::measure(&config, &registry, phones)?);
            progress(&format!(
                "{in_flight} in flight: {:.0}, {:.0}",
                h2load[h2load.len() - 1],
                ours[ours.len() - 1].rate
            ));
        }
        // Both of one run, as far as other work on the machine lets them be compared.
        let ratio = median(ours.iter().zip(&h2load).map(|(ours, h2load)| ours.rate / h2load));
        let cpu = median(ours.iter().map(|run| run.cpu));
        table.row([
            format!("{in_flight} in flight"),
            format!("{:.0}", median(h2load)),
            format!("{:.0}", median(ours.iter().map(|run| run.rate))),
            format!("{ratio:.2}"),
            format!("{cpu:.1}"),
            format!("{:.1}", median(ours.iter().map(|run| run.cpu_of_others))),
        ]);
        if in_flight == 100 {
            goals.add(
                "at least 60 % of h2load's pushes a second, 100 in flight",
                format!("{:.0} %", ratio * 100.0),
                ratio >= 0.6,
            );
            goals.add("at most 10 µs of CPU a push", format!("{cpu:.1} µs"), cpu <= 10.0);
        }
    }
    if simulator.tokens()? < u64::from(plan.pushes) {
        return Err("not every phone has had a push".into());
    }
    print(&format!("{} pushes, median of {} runs:\n\n{table}", plan.pushes, plan.runs));
    Ok(())
}

/// The registry as the daemon has it.
pub(crate) fn registry(site: &Site) -> Result<Registry> {
    let (path, again) = (site.database(), site.database());
    let settings = Settings {
        spill: spill_path(&path),
        devices_per_user: DEVICES_PER_USER,
        expire: std::time::Duration::from_secs(180 * 24 * 3600),
        has_clients: true,
    };
    let (registry, _, _) = Registry::start(
        Box::new(move || SqliteStore::open(&path).map(|store| Box::new(store) as Box<dyn Store>)),
        Box::new(move || SqliteStore::open_read_only(&again).map(|store| Box::new(store) as Box<dyn Store>)),
        &settings,
    )?;
    Ok(registry)
}
