//! The shipped pusher with a set of pending pushes, a connection, and a measured way to empty it.

use std::{
    process,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use pushmaild::{
    classifier::Kind,
    config::Config,
    registry::service::Registry,
    sink::apns::{
        counters::Counters,
        dial::{Dial, DialError, TlsDial},
        guard::Guard,
        push::Changed,
        pusher::{Changes, Control, Pusher, Settings, join},
        settings,
    },
};
use tokio::sync::{Semaphore, mpsc};

use crate::{Result, device, pause, usage};

/// The name of the pusher's thread in the daemon.
pub(crate) const THREAD: &str = "network";
/// A run takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was measured.
pub(crate) struct Drained {
    /// Pushes a second, from the dial to the last answer.
    pub(crate) rate: f64,
    /// Time on the CPU for each push, in microseconds: of the thread that pushes, and of the others, which note in the registry
    /// what was pushed.
    pub(crate) cpu: f64,
    pub(crate) cpu_of_others: f64,
}

/// The way to the simulator, which opens once when it is told to: one connection and no more.
#[derive(Clone)]
struct Gate {
    dial: TlsDial,
    tickets: Arc<Semaphore>,
}

impl Dial for Gate {
    type Io = <TlsDial as Dial>::Io;

    async fn dial(&self) -> Result<Self::Io, DialError> {
        match self.tickets.acquire().await {
            Ok(ticket) => ticket.forget(),
            Err(_) => std::future::pending().await,
        }
        self.dial.dial().await
    }
}

/// Makes a push pending for each of these phones, lets the pusher connect, and waits until all are accepted.
pub(crate) fn measure(config: &Config, registry: &Registry, phones: u32) -> Result<Drained> {
    let apns = config.apns.as_ref().ok_or("there is an [apns]")?;
    let (Settings { link, topic, authority, priorities }, _) = settings::settings(apns);
    let (dial, credential) = link?;
    let tickets = Arc::new(Semaphore::new(0));
    let link = Ok((Gate { dial, tickets: Arc::clone(&tickets) }, credential));
    let settings = Settings { link, topic, authority, priorities };
    let (changes, counters) = (Arc::new(Changes::default()), Arc::new(Counters::default()));
    let since = Instant::now();
    for number in 0..phones {
        let user = device::username(number)?;
        let changed = Changed { inbox: true, others: Vec::new(), kind: Kind::NewMail, since, events: 1 };
        changes.put(user.clone(), (vec![user], changed), join);
    }
    let pusher = Pusher::new(
        settings,
        registry.clone(),
        Arc::clone(&changes),
        Arc::clone(&counters),
        Guard::default(),
    );
    // As the daemon has it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (control, controls) = mpsc::channel::<Control<Gate>>(1);
    let thread = thread::Builder::new()
        .name(THREAD.to_owned())
        .spawn(move || runtime.block_on(pusher.run(controls)))?;

    settle()?;
    let thread_before = of_thread()?;
    let others_before = of_all()? - thread_before;
    let before = Instant::now();
    tickets.add_permits(1);
    let accepted = || u32::try_from(counters.accepted.load(Relaxed)).unwrap_or(u32::MAX);
    while accepted() < phones {
        if before.elapsed() > PATIENCE {
            return Err(format!("{} of {phones} pushes were accepted", accepted()).into());
        }
        pause(Duration::from_millis(1));
    }
    let took = before.elapsed();
    let thread_cpu = of_thread()? - thread_before;
    // The last notes are made when it ends.
    drop(control);
    thread.join().map_err(|_| "the pusher panicked")?;
    settle()?;
    let others_cpu = of_all()? - others_before;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(phones);
    Ok(Drained {
        rate: f64::from(phones) / took.as_secs_f64(),
        cpu: each(thread_cpu),
        cpu_of_others: each(others_cpu),
    })
}

fn of_thread() -> Result<Duration> {
    usage::cpu_of(process::id(), Some(THREAD))
}

fn of_all() -> Result<Duration> {
    usage::cpu_of(process::id(), None)
}

/// Waits until no thread of this process has anything to do: all registrations are looked up, or written.
fn settle() -> Result<()> {
    const QUIET: Duration = Duration::from_millis(200);
    let mut last = of_all()?;
    loop {
        pause(QUIET);
        let now = of_all()?;
        if now.saturating_sub(last) < QUIET / 100 {
            return Ok(());
        }
        last = now;
    }
}
