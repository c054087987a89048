//! The status as Prometheus reads it, in its classical text format. No label has a user's name: there may be a million, and who gets mail
//! and when is nothing for a database of a year.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    TextEncoder,
    core::Collector,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::status::{SinkState, Status};
use crate::{
    classifier::Kind,
    sink::tally::{Fate, Tally, Via},
};

/// A label's name and value.
type Label<'a> = (&'static str, &'a str);

/// All metrics.
pub(super) fn text(status: &Status, tally: &Tally) -> prometheus::Result<String> {
    let mut all = Families::default();
    process(status, &mut all);
    watching(status, &mut all);
    pushes(status, tally, &mut all);
    sinks(status, &mut all);
    registry(status, &mut all);
    TextEncoder::new().encode_to_string(&all.0)
}

fn process(status: &Status, all: &mut Families) {
    let Status { version, started, ready, .. } = status;
    all.gauges(
        "pushmaild_build_info",
        "Always 1; the label is the version",
        [(&[("version", version.as_str())][..], 1u8)],
    );
    if let Some(started) = seconds(started) {
        all.gauge("pushmaild_start_time_seconds", "When the daemon started, since 1970", started);
    }
    all.gauge("pushmaild_ready", "1 when everything is watched that the map has", u8::from(*ready));
    if let Some(bytes) = resident_memory() {
        all.gauge("process_resident_memory_bytes", "Memory of the daemon", bytes);
    }
}

fn watching(status: &Status, all: &mut Families) {
    let Status { mailboxes, watch, map, .. } = status;
    let other = mailboxes.total.saturating_sub(mailboxes.watched + mailboxes.missing + mailboxes.in_trouble);
    all.gauges(
        "pushmaild_mailboxes",
        "Mailboxes of the map: watched, not there yet (missing), not watchable (trouble), not to be watched or not yet (other)",
        [
            (&[("state", "watched")][..], mailboxes.watched),
            (&[("state", "missing")], mailboxes.missing),
            (&[("state", "trouble")], mailboxes.in_trouble),
            (&[("state", "other")], other),
        ],
    );
    let is_read = map.trouble.is_none();
    all.gauge(
        "pushmaild_map_up",
        "0 when the map could not be read the last time, and an older one is in use",
        u8::from(is_read),
    );
    all.gauges(
        "pushmaild_backend_info",
        "Always 1; the label says how mailboxes are watched",
        [(&[("backend", &*watch.backend)][..], 1u8)],
    );
    all.gauge("pushmaild_watches", "Directories with a watch", watch.watches);
    if let Some(limit) = watch.limit {
        all.gauge(
            "pushmaild_watch_limit",
            "The system's limit of inotify watches for the daemon's user",
            limit,
        );
    }
    all.gauge("pushmaild_polled_directories", "Directories that are looked at now and then", watch.polled);
    all.counter("pushmaild_events_total", "Events of Maildirs", watch.events);
    all.counter("pushmaild_overflows_total", "How often the system dropped events", watch.overflows);
    all.counter(
        "pushmaild_rescans_total",
        "How often all mailboxes were compared with what was known",
        watch.rescans,
    );
}

fn pushes(status: &Status, tally: &Tally, all: &mut Families) {
    let kinds = [Kind::NewMail, Kind::Change];
    let is_there = |via: &Via| status.sinks.iter().any(|sink| sink.name == via.as_str());
    let vias = || Via::ALL.into_iter().filter(is_there);
    let mut counts = Vec::new();
    for via in vias() {
        for kind in kinds {
            for fate in Fate::ALL {
                let labels = [("kind", kind.label()), ("outcome", fate.as_str()), ("sink", via.as_str())];
                counts.push((labels, tally.count(via, kind, fate)));
            }
        }
    }
    let counts = counts.iter().map(|(labels, count)| (&labels[..], *count));
    all.counters("pushmaild_pushes_total", "Pushes by their end", counts);
    let ages = vias().flat_map(|via| kinds.map(|kind| tally.ages(via, kind).collect()));
    all.join(ages.flatten());
}

fn sinks(status: &Status, all: &mut Families) {
    let Status { pending, sinks, listeners, .. } = status;
    let up = sinks.iter().map(|sink| ([("sink", &*sink.name)], u8::from(sink.state != SinkState::Trouble)));
    let up: Vec<_> = up.collect();
    all.gauges(
        "pushmaild_sink_up",
        "0 while nothing goes out",
        up.iter().map(|(labels, up)| (&labels[..], *up)),
    );
    let mut queues = vec![
        ([("queue", "debounced")], pending.debounced),
        ([("queue", "catching-up")], pending.catching_up),
    ];
    queues.extend(sinks.iter().map(|sink| ([("queue", &*sink.name)], sink.waiting)));
    all.gauges(
        "pushmaild_queue_length",
        "Mailboxes that wait: for quiet (debounced), for their turn after a time without a look (catching-up), or for a sink",
        queues.iter().map(|(labels, length)| (&labels[..], *length)),
    );
    let mut requests = Vec::new();
    for listener in listeners {
        for (outcome, count) in
            [("taken", listener.taken), ("refused", listener.refused), ("failed", listener.failed)]
        {
            requests.push(([("listener", &*listener.name), ("outcome", outcome)], count));
        }
    }
    let requests = requests.iter().map(|(labels, count)| (&labels[..], *count));
    all.counters("pushmaild_listener_requests_total", "Requests of Dovecot's plugins", requests);
    let Some(apns) = &status.apns else { return };
    all.counter("pushmaild_apns_retries_total", "Pushes that had to be tried again", apns.retried);
    all.counter("pushmaild_apns_connections_total", "Connections to Apple that were tried", apns.connections);
    all.counter(
        "pushmaild_apns_other_topic_total",
        "Pushes not sent since the phone was told another topic",
        apns.other_topic,
    );
    all.gauge("pushmaild_apns_users", "Users with a device", apns.users);
    if let Some(left) = apns.certificate_seconds_left {
        all.gauge(
            "pushmaild_certificate_expiry_seconds",
            "Until the end of the certificate; negative after it",
            left,
        );
    }
    if let Some(end) = apns.certificate_ends.as_deref().and_then(seconds) {
        all.gauge(
            "pushmaild_certificate_expiry_timestamp_seconds",
            "The end of the certificate, since 1970",
            end,
        );
    }
}

fn registry(status: &Status, all: &mut Families) {
    let Some(registry) = &status.registry else { return };
    all.gauge(
        "pushmaild_registry_up",
        "0 while nothing can be written",
        u8::from(registry.trouble.is_none()),
    );
    all.gauge("pushmaild_registry_unwritten", "Registrations that wait for the disk", registry.unwritten);
    if let (Some(devices), Some(suspended)) = (registry.devices, registry.suspended) {
        all.gauges(
            "pushmaild_devices",
            "Registered devices; suspended ones are not pushed to until they come back",
            [
                (&[("state", "active")][..], devices.saturating_sub(suspended)),
                (&[("state", "suspended")], suspended),
            ],
        );
    }
}

/// What the encoder takes, one family for each name.
#[derive(Default)]
struct Families(Vec<MetricFamily>);

impl Families {
    fn gauge(&mut self, name: &str, help: &str, value: impl Number) {
        self.gauges(name, help, [(&[][..], value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(&[][..], value)]);
    }

    fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (&'a [Label<'a>], impl Number)>,
    ) {
        let metric = |(labels, value): (&[Label<'a>], _)| {
            let mut gauge = Gauge::default();
            gauge.set_value(Number::float(value));
            let mut metric = Metric::from_label(pairs(labels));
            metric.set_gauge(gauge);
            metric
        };
        self.add(name, help, MetricType::GAUGE, values.into_iter().map(metric).collect());
    }

    fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (&'a [Label<'a>], u64)>,
    ) {
        let metric = |(labels, value): (&[Label<'a>], u64)| {
            let mut counter = Counter::default();
            counter.set_value(value.float());
            let mut metric = Metric::from_label(pairs(labels));
            metric.set_counter(counter);
            metric
        };
        self.add(name, help, MetricType::COUNTER, values.into_iter().map(metric).collect());
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        // The encoder takes a family without members for a mistake.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    /// Those of one name become one family.
    fn join(&mut self, families: impl Iterator<Item = MetricFamily>) {
        for mut family in families {
            match self.0.iter_mut().find(|there| there.name() == family.name()) {
                Some(there) => there.mut_metric().append(&mut family.take_metric()),
                None => self.0.push(family),
            }
        }
    }
}

fn pairs(labels: &[Label<'_>]) -> Vec<LabelPair> {
    let pair = |(name, value): &Label<'_>| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

/// Metrics are floats, which are exact up to 2^53.
trait Number {
    fn float(self) -> f64;
}

macro_rules! number {
    ($($integer:ty),*) => { $(
        impl Number for $integer {
            fn float(self) -> f64 {
                self as f64
            }
        }
    )* };
}

number!(u8, u64, usize, i64, f64);

/// A time of the status, since 1970.
fn seconds(time: &str) -> Option<f64> {
    let time: SystemTime = humantime::parse_rfc3339(time).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

#[cfg(target_os = "linux")]
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(not(target_os = "linux"))]
fn resident_memory() -> Option<u64> {
    None
}
