//! One delivery at a time: how long until its datagram arrives, and how much of the CPU it takes.

use std::time::Duration;

use crate::{
    Result, pause,
    rival::{Kind, Rival},
};

/// Deliveries to one rival before it is the next one's turn. A turn is short enough, a fifth of a second, that noise
/// hits all alike; and long enough that most deliveries find the caches as the rival itself has left them, and not as
/// the shell loop did.
pub(crate) const TURN: usize = 25;

/// The time between two deliveries. pushmaild rests 1 to 5 ms after a read that returned events, before it reads
/// again; a delivery within that rest is a burst, and measured as such. It also lets each rival finish what it does
/// after sending, so that no one is disturbed by the one before.
const GAP: Duration = Duration::from_millis(8);

/// A datagram that takes longer is a lost one, and the run has failed: nobody loses one at this pace.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// What was measured of one rival.
pub(crate) struct Quiet {
    pub(crate) kind: Kind,
    /// From before the rename to after the datagram, the shortest first. Never empty.
    latencies: Vec<Duration>,
    cpu: Duration,
}

impl Quiet {
    /// The measurement of `kind`.
    pub(crate) fn of(all: &[Self], kind: Kind) -> &Self {
        // Every kind runs: a rival that cannot be started has ended the run.
        all.iter().find(|quiet| quiet.kind == kind).expect("every kind was measured")
    }

    /// The median, in microseconds.
    pub(crate) fn p50(&self) -> f64 {
        self.percentile(50)
    }

    /// The 99th percentile, in microseconds.
    pub(crate) fn p99(&self) -> f64 {
        self.percentile(99)
    }

    /// Time on the CPU for each delivery, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.latencies.len() as f64
    }

    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.latencies.len() * percent).div_ceil(100).max(1);
        self.latencies[rank - 1].as_secs_f64() * 1e6
    }
}

/// Delivers to each rival in turn, `turns` times. The order is drawn anew each time: who comes after the shell loop
/// finds less of the caches than who comes after the C program.
pub(crate) fn measure(rivals: &mut [Rival], turns: usize) -> Result<Vec<Quiet>> {
    let before = rivals.iter().map(Rival::cpu_time).collect::<Result<Vec<_>>>()?;
    let mut latencies = vec![Vec::with_capacity(turns * TURN); rivals.len()];
    let mut order: Vec<usize> = (0..rivals.len()).collect();
    let mut random = fastrand::Rng::with_seed(1);
    for turn in 0..turns {
        random.shuffle(&mut order);
        for &number in &order {
            let rival = &mut rivals[number];
            for delivery in turn * TURN..(turn + 1) * TURN {
                let latency = deliver(rival, delivery % rival.maildirs.users())?;
                latencies[number].push(latency);
            }
        }
    }
    pause(GAP); // what they do after the last datagram counts too
    let mut all = Vec::new();
    for ((rival, before), mut latencies) in rivals.iter().zip(before).zip(latencies) {
        latencies.sort_unstable();
        let cpu = rival.cpu_time()? - before;
        all.push(Quiet { kind: rival.kind(), latencies, cpu });
    }
    Ok(all)
}

fn deliver(rival: &mut Rival, user: usize) -> Result<Duration> {
    pause(GAP);
    // Written and renamed in one go, as those who deliver mail do.
    let message = rival.maildirs.write_message(user)?;
    let start = message.deliver()?;
    while start.elapsed() < LOST_AFTER {
        // A datagram for another user is one too many for an earlier delivery: no answer to this one.
        if rival.receive()? == Some(user) {
            return Ok(start.elapsed());
        }
    }
    let (kind, log) = (rival.kind(), rival.log());
    Err(format!("{kind}: no datagram within {LOST_AFTER:?} of a delivery\n{log}").into())
}
