//! From a delivery to the datagram and to the request at Apple's, by one daemon with both sinks.

use std::{
    fs,
    io::BufRead,
    os::unix::net::UnixDatagram,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Plan, Result, daemon::Daemon, device, goals::Goals, pause, print, sample::Sample, simulator::Simulator,
    site::Site, table::Table,
};

/// The time between two deliveries, so that none belongs to a burst.
const GAP: Duration = Duration::from_millis(8);
/// A push that takes longer is a lost one.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// Which push has come, and when.
enum Came {
    Datagram(Instant),
    Request(Instant, String),
}

pub(crate) fn run(plan: &Plan, site: &Site, goals: &mut Goals) -> Result<()> {
    let mut simulator = Simulator::start(site, &[])?;
    let users = plan.deliveries;
    site.make_registry(users)?;
    site.make_map(users)?;
    for user in 0..users {
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(site.maildir(user).join(part))?;
        }
    }
    let socket = UnixDatagram::bind(site.socket("push_notify"))?;
    let (sender, pushes) = mpsc::channel();
    let lines = simulator.lines.take().ok_or("the lines are read once")?;
    let to = sender.clone();
    thread::spawn(move || {
        for line in lines.lines().map_while(std::result::Result::ok) {
            // Its time is when the line is here: the request came before.
            if to.send(Came::Request(Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    let datagrams = socket.try_clone()?;
    thread::spawn(move || {
        let mut record = [0; 2048];
        while datagrams.recv(&mut record).is_ok() {
            if sender.send(Came::Datagram(Instant::now())).is_err() {
                return;
            }
        }
    });
    let push_notify = format!("[push-notify]\nsocket = \"{}\"", site.socket("push_notify").display());
    let configuration = site.configuration(&simulator.folder, &simulator.address, &push_notify);
    let _daemon = Daemon::start(site, &configuration, "warn")?;

    let (mut to_socket, mut to_apple) = (Vec::new(), Vec::new());
    for user in 0..users {
        pause(GAP);
        let [from, to] =
            ["tmp", "new"].map(|part| site.maildir(user).join(part).join("1700000000.M1P1.bench"));
        fs::write(&from, "Subject: a benchmark\n\nHello\n")?;
        let before = Instant::now();
        fs::rename(from, to)?;
        let (mut datagram, mut request) = (None, None);
        while datagram.is_none() || request.is_none() {
            match pushes.recv_timeout(LOST_AFTER) {
                Ok(Came::Datagram(at)) => datagram = Some(at - before),
                Ok(Came::Request(at, line)) if line.contains(&device::token(user)) => {
                    request = Some(at - before);
                }
                Ok(Came::Request(_, line)) => return Err(format!("a push for nobody: {line}").into()),
                Err(RecvTimeoutError::Timeout) => return Err(format!("no push within {LOST_AFTER:?}").into()),
                Err(RecvTimeoutError::Disconnected) => return Err("the simulator has ended".into()),
            }
        }
        to_socket.extend(datagram);
        to_apple.extend(request);
    }
    let [to_socket, to_apple] = [to_socket, to_apple].map(Sample::new);
    let mut table = Table::new(&["from a delivery to", "p50, µs", "p99, µs"]);
    for (name, sample) in
        [("the datagram", &to_socket), ("the request at the simulator, printed and read", &to_apple)]
    {
        let [p50, p99] = [50, 99].map(|percent| format!("{:.0}", sample.percentile(percent)));
        table.row([name.to_owned(), p50, p99]);
    }
    print(&format!("{users} deliveries, one at a time, each to another user:\n\n{table}"));
    let later = to_apple.percentile(50) - to_socket.percentile(50);
    goals.add(
        "a request at Apple's at most 1 ms after the datagram, p50",
        format!("{later:.0} µs"),
        later <= 1000.0,
    );
    Ok(())
}
