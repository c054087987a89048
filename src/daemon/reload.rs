//! SIGHUP: what of a new configuration takes effect at once, and what has to wait for a restart.

use std::time::Instant;

use tracing::{error, info, warn};

use super::{Daemon, DaemonError};
use crate::{
    config::{Config, Watch, WatchedMailboxes},
    service_manager,
    sink::{exec::ExecSink, push_notify::PushNotifySink},
};

impl Daemon {
    /// The whole new configuration is built first, and on any error the old one stays.
    pub(super) fn reload(&mut self) {
        info!("reloading the configuration");
        service_manager::reloading();
        self.ready_owed = true;
        self.started = Instant::now();
        match self.try_reload() {
            Ok(()) => {}
            Err(error) => {
                let hint = error.hint();
                error!(%error, hint, "the new configuration is not used, and the old one stays: {error}; hint: {hint}");
            }
        }
    }

    fn try_reload(&mut self) -> Result<(), DaemonError> {
        let now = Instant::now();
        let new = Config::load(&self.config.path)?;
        if !new.has_sink() {
            return Err(DaemonError::NoSink(new.path));
        }
        for (table, differs) in [
            ("[listen]", new.listen != self.config.listen),
            ("[registry]", new.registry != self.config.registry),
            ("[apns]", new.apns.is_some() != self.config.apns.is_some()),
            ("[control]", new.control != self.config.control),
        ] {
            if differs {
                warn!(table, "{table} has changed, and takes effect after a restart");
            }
        }
        if new.watch.backend != self.config.watch.backend
            || new.watch.poll_interval != self.config.watch.poll_interval
        {
            warn!("`backend` and `poll-interval` take effect after a restart");
        }
        let exec = match (&self.pipeline.sinks.exec, &new.exec) {
            (None, Some(exec)) => Some(ExecSink::start(exec, &self.pipeline.sinks.tally)?),
            _ => None,
        };
        if self.config.push_notify != new.push_notify {
            let mut sink = new.push_notify.as_ref().map(PushNotifySink::new).transpose()?;
            if let (Some(sink), Some(old)) = (&mut sink, self.pipeline.sinks.push_notify.take()) {
                sink.inherit(old, now);
            }
            self.pipeline.sinks.push_notify = sink;
        }
        match (&new.exec, exec) {
            (Some(new), None) => self.pipeline.sinks.exec.iter().for_each(|sink| sink.renew(new)),
            // Without the sink what waits in it is dropped, and what runs is ended.
            (_, exec) => self.pipeline.sinks.exec = exec,
        }
        if let Some(network) = &self.network {
            network.reload(&new);
        }
        // Without the sink nobody is known to have a device.
        let only_registered =
            new.watch.mailboxes == WatchedMailboxes::Registered && self.pipeline.sinks.apns.is_some();
        if std::mem::replace(&mut self.pipeline.only_registered, only_registered) != only_registered {
            let all: Vec<_> = self.pipeline.map.ids().map(|id| (id, false)).collect();
            let Self { upkeep, watching, pipeline, keeper, .. } = self;
            upkeep.watch_wanted(all, watching, pipeline, keeper);
        }
        self.pipeline.planner.set_intervals(new.debounce, new.catch_up_rate);
        self.upkeep.reload(new.mailboxes.clone(), new.watch.sweep_interval, now);
        let watch = Watch { sweep_interval: new.watch.sweep_interval, ..self.config.watch };
        // What is in force, to compare the next one with.
        let Config { listen, registry, apns, control, .. } = &self.config;
        let apns = if apns.is_some() == new.apns.is_some() { new.apns } else { apns.clone() };
        let (listen, registry, control) = (listen.clone(), registry.clone(), control.clone());
        self.config = Config { watch, listen, registry, apns, control, ..new };
        Ok(())
    }
}
