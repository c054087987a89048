//! As many deliveries as one writer can make: is every user told of the last one?

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    maildirs::Ready,
    rival::{Kind, Rival},
};

/// Silence after which nothing more is expected. pushmaild may hold new mail back for 2 s, and what it finds by
/// looking, after an overflow, for the 10 s of change-quiet.
const QUIET: Duration = Duration::from_secs(15);

/// The end of it all, writing included, though datagrams still come.
const PATIENCE: Duration = Duration::from_secs(40);

/// When something last happened for each user.
type LastOf = Vec<Option<Instant>>;

/// What was measured of one rival.
pub(crate) struct Burst {
    pub(crate) kind: Kind,
    pub(crate) datagrams: usize,
    /// Users whose last datagram came before their last delivery.
    pub(crate) untold: usize,
    /// The longest time between the last delivery to a user and the last datagram for that user.
    pub(crate) longest_wait: Duration,
    deliveries: usize,
    writing: Duration,
    cpu: Duration,
}

impl Burst {
    /// How fast the writer was, which pays for waking the rival up.
    pub(crate) fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / self.writing.as_secs_f64()
    }

    /// The rival's time on the CPU for each delivery, in microseconds.
    pub(crate) fn cpu_per_delivery(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }
}

/// The user of each delivery, in an order that is random and always the same.
pub(crate) fn users(users: usize, deliveries: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(2);
    (0..deliveries).map(|_| random.usize(..users)).collect()
}

/// Delivers to users in random order, and waits until each was told or nothing more comes.
pub(crate) fn measure(rival: &mut Rival, deliveries: usize) -> Result<Burst> {
    let users = rival.maildirs.users();
    let to = self::users(users, deliveries);
    let messages = rival.maildirs.link_messages(&to)?;
    let before = rival.cpu_time()?;

    let written = OnceLock::new();
    let (writing, received) = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(rival, users, &written));
        let start = Instant::now();
        let mut last = vec![None; users];
        let result = write(&to, &messages, &mut last);
        let writing = start.elapsed();
        // Even after an error, for the receiver waits for it.
        written.get_or_init(|| last);
        let received = receiver.join().map_err(|_| "the receiver panicked")??;
        result.map(|()| (writing, received))
    })?;

    let waits = waits(written.get().map_or(&[], Vec::as_slice), &received.last);
    Ok(Burst {
        kind: rival.kind(),
        datagrams: received.datagrams,
        untold: waits.iter().filter(|wait| wait.is_none()).count(),
        longest_wait: waits.into_iter().flatten().max().unwrap_or_default(),
        deliveries,
        writing,
        cpu: rival.cpu_time()? - before,
    })
}

/// Delivers all messages, and notes in `last` when each user got the last one.
fn write(to: &[usize], messages: &[Ready], last: &mut LastOf) -> Result<()> {
    for (&user, message) in to.iter().zip(messages) {
        last[user] = Some(message.deliver()?);
    }
    Ok(())
}

struct Received {
    datagrams: usize,
    last: LastOf,
}

/// Receives until the writer is done and each user was told, or nothing more comes.
fn receive(rival: &Rival, users: usize, written: &OnceLock<LastOf>) -> Result<Received> {
    let mut received = Received { datagrams: 0, last: vec![None; users] };
    let start = Instant::now();
    let mut quiet_since = start;
    while start.elapsed() < PATIENCE {
        match (rival.receive()?, written.get()) {
            (Some(user), _) => {
                quiet_since = Instant::now();
                received.datagrams += 1;
                received.last[user] = Some(quiet_since);
            }
            (None, Some(delivered)) => {
                let all_told = waits(delivered, &received.last).iter().all(Option::is_some);
                if all_told || quiet_since.elapsed() > QUIET {
                    break;
                }
            }
            (None, None) => {} // the writer makes no headway, but it is not done
        }
    }
    Ok(received)
}

/// For each user with deliveries: from the last of them to the last datagram, `None` if that came before.
fn waits(delivered: &[Option<Instant>], told: &[Option<Instant>]) -> Vec<Option<Duration>> {
    delivered
        .iter()
        .zip(told)
        .filter_map(|(&delivered, &told)| Some((delivered?, told)))
        .map(|(delivered, told)| told?.checked_duration_since(delivered))
        .collect()
}
