//! The orderly stop, in the order of the flow: no more intake, everything pending goes out, what is told is stored.

use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tracing::{info, warn};

use super::{Daemon, DaemonError, REST, any_of, network::OpenRegistry, sleep_until};
use crate::{
    count::count,
    service_manager,
    sink::{apns::ApnsSink, exec::ExecSink},
    stamp::RACY,
};

/// How long it tries to send what waits. systemd and launchd give more, but people wait.
const DRAIN: Duration = Duration::from_secs(3);
/// How long it may take to store what was told.
const STORE: Duration = Duration::from_millis(700);
/// From a look to the record that is made of it: a deliverer that the system held up between its change and the event of it has gone on.
const SETTLE: Duration = Duration::from_millis(50);
/// How often a stop looks whether the other threads are done.
const LOOK_AT_OTHERS: Duration = Duration::from_millis(10);
/// So many times in a row the other threads must have nothing left.
const EMPTY_LOOKS: u32 = 3;

impl Daemon {
    /// Stops.
    pub(super) async fn stop(
        mut self,
        terminate: &mut Signal,
        interrupt: &mut Signal,
    ) -> Result<(), DaemonError> {
        info!("stopping");
        service_manager::stopping();
        let deadline = Instant::now() + DRAIN;
        // What had happened when the signal came is still told.
        while (self.read(false)?.any | self.read(true)?.any) && Instant::now() < deadline {}
        let mut hurried = self.look_at_what_is_left(terminate, interrupt).await?;
        self.pipeline.flush(Instant::now());
        // What is on its way from one thread to the other is for a moment counted by neither: one look is not enough.
        let mut empty_looks = 0;
        while empty_looks < EMPTY_LOOKS && Instant::now() < deadline && !hurried {
            let now = Instant::now();
            // What another thread sends tells nobody when it is out.
            let next = now + LOOK_AT_OTHERS;
            let wake = self.pipeline.deadline(now).unwrap_or(deadline).min(next).min(deadline);
            tokio::select! {
                () = sleep_until(Some(wake)) => {
                    self.pipeline.on_time(Instant::now());
                }
                // Somebody is in a hurry.
                _ = any_of(terminate, interrupt) => hurried = true,
            }
            empty_looks = match self.pipeline.waiting() {
                0 if self.pipeline.sinks.apns.is_none() => EMPTY_LOOKS,
                0 => empty_looks + 1,
                _ => 0,
            };
        }
        let waiting = self.pipeline.waiting();
        let trouble = self.pipeline.sinks.apns.as_ref().and_then(ApnsSink::trouble);
        let trouble = trouble.or_else(|| self.pipeline.sinks.exec.as_ref().and_then(ExecSink::trouble));
        // Programs have their last moment while records are stored. What they were about is not done, and not stored as done.
        if let Some(exec) = &self.pipeline.sinks.exec {
            exec.end();
        }
        if !hurried {
            self.store_what_is_told().await?;
        }
        let to_catch_up = self.pipeline.planner.to_catch_up();
        let Self { network, registry, keeper, pipeline, control, .. } = self;
        let keeps = keeper.keeps();
        drop(keeper);
        if let Some(control) = control {
            control.stop();
        }
        if let Some(network) = network {
            network.stop();
        }
        if let Some(exec) = pipeline.sinks.exec {
            exec.join();
        }
        if let Some(OpenRegistry { registry, threads, .. }) = registry {
            drop(registry);
            threads.join();
        }
        tell_the_end(waiting + to_catch_up, trouble, keeps);
        Ok(())
    }

    /// What an overflow hides, and what folders that have just appeared hold, is still looked at. True if somebody is in a hurry.
    async fn look_at_what_is_left(
        &mut self,
        terminate: &mut Signal,
        interrupt: &mut Signal,
    ) -> Result<bool, DaemonError> {
        let deadline = Instant::now() + DRAIN / 2;
        while !(self.upkeep.is_idle() && self.pipeline.planner.is_compared()) && Instant::now() < deadline {
            let now = Instant::now();
            self.upkeep.on_time(&mut self.watching, &mut self.pipeline, &mut self.keeper, now);
            tokio::select! {
                done = self.upkeep.jobs.next() => self.job_done(done)?,
                () = sleep_until(Some(now + REST)) => {}
                _ = any_of(terminate, interrupt) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Settles what has nothing pending, so that the next start has nothing to tell of it. Whatever is not done in time is told twice.
    async fn store_what_is_told(&mut self) -> Result<(), DaemonError> {
        let deadline = Instant::now() + STORE;
        if !self.keeper.keeps() || self.pipeline.planner.is_settled() {
            return Ok(());
        }
        // Then no mtime is so young that a change could hide behind it.
        sleep_until(Some(Instant::now() + RACY)).await;
        while !self.pipeline.planner.is_settled() && Instant::now() < deadline {
            let now = Instant::now();
            if self.keeper.is_idle() {
                // What comes in now is for the next start, but a record must not hide it.
                if !self.read(false)?.all {
                    continue;
                }
                self.settle(now);
            }
            self.upkeep.on_time(&mut self.watching, &mut self.pipeline, &mut self.keeper, now);
            if self.keeper.is_idle() && !self.upkeep.jobs.is_looking() {
                // Neither a look nor a record on its way: what is left has something pending.
                break;
            }
            // The next turn confirms all looks that are there by then.
            while (!self.keeper.is_idle()
                || self.upkeep.jobs.is_looking()
                || self.pipeline.planner.wants_look())
                && Instant::now() < deadline
            {
                self.upkeep.on_time(&mut self.watching, &mut self.pipeline, &mut self.keeper, Instant::now());
                tokio::select! {
                    kept = self.keeper.next() => self.kept(kept),
                    done = self.upkeep.jobs.next() => self.job_done(done)?,
                    () = sleep_until(Some(deadline)) => {}
                }
            }
            sleep_until(Some(Instant::now() + SETTLE)).await;
        }
        Ok(())
    }
}

fn tell_the_end(pushes: usize, trouble: Option<String>, keeps: bool) {
    let until = if keeps { "they go out after the next start" } else { "they are lost" };
    let unsent = count(pushes, "push", "pushes");
    match (pushes, trouble) {
        (0, _) => info!("stopped; every push is sent"),
        (pushes, None) => {
            warn!(
                pushes,
                "stopped; {unsent} could not be sent, for the receiver does not take them; {until}"
            );
        }
        (pushes, Some(trouble)) => {
            warn!(pushes, trouble, "stopped; {unsent} could not be sent: {trouble}; {until}");
        }
    }
}
