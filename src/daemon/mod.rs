//! The daemon: one thread on which an event goes from the watcher to the socket by plain calls.
//!
//! ```text
//! watcher ─WatchEvent→ planner (classifier → debouncer) ─MailboxReady→ sinks       (pipeline.rs)
//!    ↑ armed, looked at    ↑ looks   └─ records ─→ keeper.rs ─→ registry (another thread)
//! watching.rs ←──────── upkeep.rs ←── jobs.rs (other threads: map, arming, looks)
//!                                         network.rs ─→ told.rs (another thread: devices, hints)
//! ```

mod above;
mod arming;
mod beginning;
mod comparison;
mod errands;
mod error;
mod jobs;
mod keeper;
mod network;
mod notices;
mod parents;
mod pipeline;
mod reading;
mod ready;
mod reload;
mod remapping;
mod report;
mod slot;
mod stop;
mod told;
mod unarmed;
mod upkeep;
mod watching;

use std::{
    future::poll_fn,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use crate::{
    allocator, capabilities,
    classifier::Op,
    config::{Config, NO_RECORDS, WatchedMailboxes},
    control::{Control, Question},
    instance_lock::InstanceLock,
    planner::Arrival,
    registry::{reader::Stored, service::NotStored},
    service_manager,
    sink::{apns::ApnsSink, exec::ExecSink, push_notify::PushNotifySink, tally::Tally},
    watcher::{Read, Target, WatchEvent, Watcher, choice},
};

pub use self::error::DaemonError;
use self::{
    beginning::Beginning,
    errands::Errand,
    jobs::{Done, Why},
    keeper::{Keeper, Kept},
    network::{FromNetwork, Network, OpenRegistry, open_registry},
    pipeline::{Pipeline, Sinks},
    upkeep::Upkeep,
    watching::Watching,
};

/// In a burst, when events come so soon after others, the thread rests so long before it reads again: the burst is then read in
/// large pieces, which costs a tenth of the processor time, and the one who delivers is not held up by waking us each time. The first
/// events of a quiet time are not delayed.
const REST: Duration = Duration::from_millis(2);
/// Events that come within so long of others are a burst. Longer than a rest, so that one goes on for as long as each rest brings some.
const BURST: Duration = Duration::from_millis(4);
/// How often the start says that it goes on.
const START_PROGRESS: Duration = Duration::from_secs(5);

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start, or its backend breaks.
pub fn run(path: &Path) -> Result<(), DaemonError> {
    allocator::set_up();
    capabilities::keep_from_children()?;
    let config = Config::load(path)?;
    if !config.has_sink() {
        return Err(DaemonError::NoSink(config.path));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(jobs::MOST_THREADS + 4)
        .build()?;
    let result = runtime.block_on(async {
        let lock = InstanceLock::take(&config.path)?;
        let daemon = Daemon::new(config, lock)?;
        daemon.run().await
    });
    // A job may hang in a file system that does not answer; it must not hold up the end.
    runtime.shutdown_background();
    result
}

/// When the primary backend is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextRead {
    /// When it says that there is something.
    WhenReady,
    /// Now: only a read that finds nothing shows that there was nothing more.
    AtOnce,
    /// After a rest.
    AfterRest,
}

struct Daemon {
    config: Config,
    _lock: InstanceLock,
    watching: Watching,
    pipeline: Pipeline,
    upkeep: Upkeep,
    keeper: Keeper,
    /// None if there is nowhere to keep anything.
    registry: Option<OpenRegistry>,
    /// What was stored, read before the map was.
    stored: Option<Result<Option<Stored>, NotStored>>,
    /// None without `[apns]` and `[listen]`.
    network: Option<Network>,
    /// What comes after the last read.
    next_read: NextRead,
    /// When a read last had events.
    last_events: Instant,
    /// A READY=1 is owed since the start or a reload.
    ready_owed: bool,
    started: Instant,
    /// When the process began. A reload does not change it.
    began: Beginning,
    /// Events that were read.
    events: u64,
    /// None without a control socket.
    control: Option<Control>,
}

impl Daemon {
    fn new(config: Config, lock: InstanceLock) -> Result<Self, DaemonError> {
        let began = Beginning::now();
        let push_notify = config.push_notify.as_ref().map(PushNotifySink::new).transpose()?;
        let has_clients = config.apns.is_some() || config.listen.is_some();
        let registry =
            config.kept_registry().map(|registry| open_registry(&registry, has_clients)).transpose()?;
        if registry.is_none() {
            warn!(
                hint = NO_RECORDS,
                "what changes while pushmaild does not run will be told to nobody, for there is nowhere to keep records of the mailboxes; hint: {NO_RECORDS}"
            );
        }
        let tally = Arc::new(Tally::default());
        let (network, apns) = Network::start(&config, registry.as_ref(), &tally)?;
        let control = Control::start(&config.control, registry.as_ref().map(|open| &open.registry), &tally)?;
        let only_registered = config.watch.mailboxes == WatchedMailboxes::Registered;
        let watch = config.watch;
        let now = Instant::now();
        let keeper = Keeper::new(registry.as_ref().map(|open| open.registry.clone()));
        let exec = config.exec.as_ref().map(|exec| ExecSink::start(exec, &tally)).transpose()?;
        let sinks = Sinks::new(push_notify, apns, exec, tally);
        let debounce = (config.debounce, config.catch_up_rate);
        Ok(Self {
            watching: Watching::new(watch.backend, watch.poll_interval)
                .map_err(|error| broken(&config, error))?,
            pipeline: Pipeline::new(debounce, keeper.keeps(), sinks, only_registered),
            network,
            upkeep: Upkeep::new(config.mailboxes.clone(), watch.sweep_interval, now),
            keeper,
            registry,
            stored: None,
            next_read: NextRead::WhenReady,
            last_events: now,
            ready_owed: true,
            started: now,
            began,
            events: 0,
            control,
            _lock: lock,
            config,
        })
    }

    async fn run(mut self) -> Result<(), DaemonError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let watchdog = service_manager::watchdog_interval();
        let mut next_alive = watchdog.map(|_| self.started);
        let mut next_progress = Some(self.started + START_PROGRESS);
        loop {
            let now = Instant::now();
            // A record is renewed when no event is on its way that it would hide.
            let is_turn = self.turn().is_some_and(|at| at <= now);
            if self.next_read == NextRead::AtOnce || is_turn {
                let read = self.read(false)?;
                if is_turn && read.all {
                    self.settle(now);
                }
            }
            self.on_time(now);
            if let (Some(at), Some(interval)) = (next_alive, watchdog)
                && at <= now
            {
                service_manager::alive();
                next_alive = Some(now + interval);
            }
            if self.ready_owed && next_progress.is_some_and(|at| at <= now) {
                service_manager::still_starting("arming watches");
                next_progress = Some(now + START_PROGRESS);
            }
            let reads = (self.next_read != NextRead::WhenReady).then_some(now);
            let wake = [reads, self.deadline(now), next_alive, next_progress.filter(|_| self.ready_owed)]
                .into_iter()
                .flatten()
                .min();
            // Everybody else has a turn before the next read of a burst.
            let give_way = self.next_read != NextRead::WhenReady;
            if self.next_read == NextRead::AfterRest {
                self.next_read = NextRead::AtOnce;
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a wait in the event loop would be woken by every event"
                )]
                std::thread::sleep(REST);
            }
            tokio::select! {
                biased;
                readable = poll_fn(|context| self.watching.primary.poll_ready(context)), if !give_way => {
                    readable.map_err(|error| broken(&self.config, error))?;
                    self.read(false)?;
                }
                readable = poll_fn(|context| self.watching.fallback.poll_ready(context)) => {
                    readable.map_err(|error| broken(&self.config, error))?;
                    self.read(true)?;
                }
                () = sleep_until(wake) => {}
                done = self.upkeep.jobs.next() => self.job_done(done)?,
                kept = self.keeper.next() => self.kept(kept),
                told = from_network(&mut self.network) => self.told(told),
                question = from_control(&mut self.control) => self.answer(question),
                _ = any_of(&mut terminate, &mut interrupt) => break,
                _ = hang_up.recv() => self.reload(),
            }
        }
        self.stop(&mut terminate, &mut interrupt).await
    }

    /// Hands what a backend has to the pipeline.
    fn read(&mut self, fallback: bool) -> Result<Read, DaemonError> {
        if let Some(live) = self.network.as_ref().and_then(Network::live_now) {
            self.told(live);
        }
        let now = Instant::now();
        let Self { watching, pipeline, upkeep, config, events, .. } = self;
        let mut errands = Vec::new();
        let mut overflow = false;
        let read = watching
            .read(fallback, &mut |event| match event {
                WatchEvent::Entry { target: Target::Part(id, part), op, name } => {
                    *events += 1;
                    pipeline.event((id, part), op, name, now);
                }
                WatchEvent::Entry { target: Target::Parent(parent), op, name } => {
                    errands.push(Errand::InParent { parent, name: name.to_vec(), is_new: op == Op::Created });
                }
                WatchEvent::Written { target: Target::Parent(parent), name } => {
                    errands.push(Errand::InParent { parent, name: name.to_vec(), is_new: true });
                }
                WatchEvent::Touched { target: Target::Part(id, part), arrived, seen } => {
                    *events += 1;
                    errands.push(Errand::Touched { part: (id, part), arrived, seen });
                }
                WatchEvent::Touched { target: Target::Parent(id), .. } => {
                    errands.push(Errand::ParentTouched(id));
                }
                WatchEvent::Lost(Target::Part(id, part)) => errands.push(Errand::Lost(id, part)),
                WatchEvent::Lost(Target::Parent(id)) => errands.push(Errand::ParentLost(id)),
                WatchEvent::Overflow => overflow = true,
                WatchEvent::Written { target: Target::Part(..), .. } => {}
            })
            .map_err(|error| broken(config, error))?;
        upkeep.run_errands(errands, watching, pipeline, now);
        // The poller has no halves of renames.
        if !fallback {
            if read.any {
                pipeline.end_of_read(now);
            }
            // What others do on the file system costs as much to read, and tells nothing.
            let is_burst = read.busy && now.duration_since(self.last_events) < BURST;
            if read.busy {
                self.last_events = now;
            }
            self.next_read = match (read.all, is_burst) {
                (false, _) => NextRead::AtOnce,
                (true, true) => NextRead::AfterRest,
                (true, false) => NextRead::WhenReady,
            };
        }
        if overflow {
            upkeep.overflow(watching, pipeline, now);
        }
        Ok(read)
    }

    /// When mailboxes are to be settled next. While the last ones are being stored there is no turn.
    fn turn(&self) -> Option<Instant> {
        self.pipeline.planner.next_turn().filter(|_| self.keeper.is_idle())
    }

    /// A turn of settling: everything has been read.
    fn settle(&mut self, now: Instant) {
        let Self { pipeline, keeper, network, upkeep, .. } = self;
        let Pipeline { map, planner, sinks, .. } = pipeline;
        let good = planner.settle(now, |id| sinks.has(id, map));
        upkeep.arm_anew(planner.take_elsewhere());
        let hasher = sinks.apns.as_ref().map(ApnsSink::hasher);
        let ask = network.as_ref().zip(hasher).map(|(network, hasher)| || network.ask_for_unpushed(hasher));
        keeper.store(good, ask, pipeline, now);
    }

    /// Takes in what the keeper has waited for.
    fn kept(&mut self, kept: Kept) {
        match kept {
            Kept::Read(stored) if !self.upkeep.may_arm() => {
                self.stored = Some(stored);
                self.keeper.is_read();
                self.begin_to_arm();
            }
            kept => self.keeper.kept(kept, &mut self.pipeline, Instant::now()),
        }
    }

    /// At the start: when both the map and the records are there, the planner knows what was told already, and arming begins.
    fn begin_to_arm(&mut self) {
        if self.upkeep.may_arm() || !self.upkeep.has_map() {
            return;
        }
        let arrival = match self.stored.take() {
            Some(stored) => self.keeper.load(stored, &mut self.pipeline),
            None if self.keeper.keeps() => return,
            None => Arrival::Old,
        };
        self.upkeep.records_are_read(arrival);
    }

    fn on_time(&mut self, now: Instant) {
        self.pipeline.on_time(now);
        self.upkeep.on_time(&mut self.watching, &mut self.pipeline, &mut self.keeper, now);
        // Whose mailboxes are to be watched is known when the registry has been read.
        let is_known = self.pipeline.sinks.apns.as_mut().is_none_or(|apns| apns.registered().is_known());
        if self.ready_owed && is_known && self.upkeep.is_settled() {
            self.ready_owed = false;
            self.ready(now);
            self.pipeline.planner.settle_soon(now);
            // A listing is large, and gone.
            allocator::give_back();
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let upkeep = self.upkeep.deadline(&self.pipeline, now);
        [self.pipeline.deadline(now), upkeep, self.turn()].into_iter().flatten().min()
    }

    fn job_done(&mut self, done: Done) -> Result<(), DaemonError> {
        // At the start there is no old map to go on with.
        if let Done::Listing { why: Why::Start, result: Err(error), .. } = done {
            return Err(error.into());
        }
        let Self { watching, pipeline, upkeep, .. } = self;
        upkeep.job_done(done, watching, pipeline, Instant::now());
        self.begin_to_arm();
        Ok(())
    }
}

fn broken(config: &Config, error: io::Error) -> DaemonError {
    DaemonError::Watcher { backend: choice::first(config.watch.backend).as_str(), error }
}

async fn from_network(network: &mut Option<Network>) -> FromNetwork {
    match network {
        Some(network) => network.next().await,
        None => std::future::pending().await,
    }
}

async fn from_control(control: &mut Option<Control>) -> Question {
    match control {
        Some(control) => control.next().await,
        None => std::future::pending().await,
    }
}

async fn any_of(one: &mut Signal, other: &mut Signal) -> Option<()> {
    tokio::select! {
        signal = one.recv() => signal,
        signal = other.recv() => signal,
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        // There is work left. Everybody else gets a turn in between, the system's events and signals above all.
        Some(time) if time <= Instant::now() => tokio::task::yield_now().await,
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
