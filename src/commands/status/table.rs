//! The status as people read it.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::super::output::paint;
use crate::{
    control::{
        status::{ApnsStatus, CertificateEnd, Push, SinkState, SinkStatus, Status},
        words::{ago, duration},
    },
    count::count,
    plain::plain,
};

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31;1";
const FAINT: &str = "2";
/// Pushes that are shown.
const PUSHES: usize = 12;
/// Mailboxes in trouble that are shown.
const TROUBLES: usize = 8;

pub(super) fn write(status: &Status, colours: bool, out: &mut dyn Write) -> io::Result<()> {
    let Status { version, pid, started, ready, mailboxes, watch, pending, .. } = status;
    let up = ago(started, &status.time).map_or_else(String::new, |up| format!(", up {}", duration(up)));
    let state = if *ready {
        paint(colours, GREEN, "running")
    } else {
        paint(colours, YELLOW, "starting: not everything is watched yet")
    };
    writeln!(out, "pushmaild {version}, {state} (process {pid}{up})")?;
    let mut missing = Vec::new();
    if mailboxes.missing > 0 {
        missing.push(format!("{} not there yet", mailboxes.missing));
    }
    if mailboxes.in_trouble > 0 {
        missing.push(paint(colours, RED, &format!("{} in trouble", mailboxes.in_trouble)));
    }
    if mailboxes.only_registered {
        missing.push("only those with a registered device".to_owned());
    }
    let missing = if missing.is_empty() { String::new() } else { format!("; {}", missing.join(", ")) };
    writeln!(out, "mailboxes  {} of {} watched{missing}", mailboxes.watched, mailboxes.total)?;
    let limit = watch.limit.map_or_else(String::new, |limit| format!(" (the limit is {limit})"));
    let polled = if watch.polled > 0 {
        paint(colours, YELLOW, &format!(", {} polled", count(watch.polled, "directory", "directories")))
    } else {
        String::new()
    };
    writeln!(
        out,
        "watches    {} of {}{limit}{polled}; {}",
        watch.watches,
        watch.backend,
        count(watch.events, "event", "events")
    )?;
    if watch.overflows > 0 {
        writeln!(
            out,
            "           events were dropped {}; all mailboxes were looked at each time",
            times(watch.overflows)
        )?;
    }
    if let Some(trouble) = &status.map.trouble {
        writeln!(
            out,
            "map        {}",
            paint(colours, RED, &format!("the old one stays: {}", plain(trouble)))
        )?;
    }
    let catching_up = match pending.catching_up {
        0 => String::new(),
        mailboxes => format!(", {mailboxes} to catch up with"),
    };
    writeln!(
        out,
        "pending    {} waiting for quiet{catching_up}",
        count(pending.debounced, "mailbox", "mailboxes")
    )?;
    for sink in &status.sinks {
        write_sink(sink, &status.time, colours, out)?;
    }
    if let Some(apns) = &status.apns {
        write_apns(apns, colours, out)?;
    }
    if let Some(registry) = &status.registry {
        let devices = registry.devices.map_or_else(|| "unknown".to_owned(), |devices| devices.to_string());
        let suspended = match registry.suspended {
            Some(suspended) if suspended > 0 => format!(", {suspended} suspended"),
            _ => String::new(),
        };
        let trouble = match &registry.trouble {
            Some(trouble) => paint(colours, RED, &format!("; {}", plain(trouble))),
            None => String::new(),
        };
        writeln!(out, "devices    {devices}{suspended}{trouble}")?;
    }
    for listener in &status.listeners {
        let bad = match listener.refused + listener.failed {
            0 => String::new(),
            _ => format!(", {} refused, {} failed", listener.refused, listener.failed),
        };
        writeln!(out, "listening  {}: {}{bad}", listener.name, count(listener.taken, "request", "requests"))?;
    }
    if super::is_in_trouble(status) {
        writeln!(out, "trouble    `pushmaild doctor` says what is broken, and what to do")?;
    }
    write_troubles(status, colours, out)?;
    write_pushes(&status.pushes, &status.time, colours, out)
}

fn write_sink(sink: &SinkStatus, now: &str, colours: bool, out: &mut dyn Write) -> io::Result<()> {
    let light = match sink.state {
        SinkState::Ok => paint(colours, GREEN, "ok"),
        SinkState::Busy => paint(colours, YELLOW, "busy"),
        SinkState::Trouble => paint(colours, RED, "trouble"),
        SinkState::Unknown => paint(colours, YELLOW, "unknown"),
    };
    let mut line = format!("sink       {} {light}: {} pushed", sink.name, sink.delivered);
    for (number, what) in
        [(sink.refused, "refused"), (sink.failed, "failed"), (sink.waiting as u64, "waiting")]
    {
        if number > 0 {
            line += &format!(", {number} {what}");
        }
    }
    writeln!(out, "{line}  {}", paint(colours, FAINT, &plain(&sink.target)))?;
    if let Some(trouble) = &sink.trouble {
        writeln!(out, "           {}", paint(colours, RED, &plain(trouble)))?;
    } else if let Some(error) = &sink.last_error {
        let ago = ago(&error.time, now).map_or_else(String::new, |ago| format!(" ({} ago)", duration(ago)));
        writeln!(out, "           last error{ago}: {}", plain(&error.message))?;
    }
    Ok(())
}

fn write_apns(apns: &ApnsStatus, colours: bool, out: &mut dyn Write) -> io::Result<()> {
    let topic = apns.topic.as_deref().unwrap_or("none");
    let environment = apns.environment.as_deref().unwrap_or("no credential");
    let ends = match apns.certificate_end() {
        None => String::new(),
        Some(CertificateEnd::Passed) => paint(colours, RED, ", the certificate has ended"),
        Some(CertificateEnd::Soon(days)) => {
            let days = count(days, "day", "days");
            paint(colours, YELLOW, &format!(", the certificate ends in {days}"))
        }
        Some(CertificateEnd::Far(days)) => format!(", the certificate is good for {days} days"),
    };
    let other = match apns.other_topic {
        0 => String::new(),
        pushes => {
            format!(
                "; {} for phones with another topic to come back",
                count(pushes, "push waits", "pushes wait")
            )
        }
    };
    writeln!(
        out,
        "apple      {} with a device; topic {topic}, {environment}{ends}{other}",
        count(apns.users, "user", "users")
    )
}

fn write_troubles(status: &Status, colours: bool, out: &mut dyn Write) -> io::Result<()> {
    if status.troubles.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nNOT WATCHED")?;
    for trouble in status.troubles.iter().take(TROUBLES) {
        writeln!(out, "{}  {}", paint(colours, YELLOW, &plain(&trouble.user)), plain(&trouble.reason))?;
    }
    let all = status.mailboxes.in_trouble + status.mailboxes.missing;
    match all.saturating_sub(TROUBLES) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more; `pushmaild users` lists them"),
    }
}

fn write_pushes(pushes: &[Push], now: &str, colours: bool, out: &mut dyn Write) -> io::Result<()> {
    if pushes.is_empty() {
        return writeln!(out, "\nno push yet");
    }
    let shown = &pushes[..pushes.len().min(PUSHES)];
    let width = shown.iter().map(|push| push.user.chars().count()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "\n{:>8}  {:width$}  {:8}  {:>8}  {:>6}  {:11}  OUTCOME",
        "AGO", "USER", "KIND", "TOOK", "EVENTS", "SINK"
    )?;
    for push in shown {
        let when = ago(&push.time, now).map_or_else(|| "?".to_owned(), duration);
        let took = duration(Duration::from_secs_f64((push.age_ms / 1000.0).clamp(0.0, 1e9)));
        let outcome = match push.outcome.as_str() {
            "delivered" => paint(colours, GREEN, "delivered"),
            other => paint(colours, RED, other),
        };
        let answer = push.answer.as_ref().map_or_else(String::new, |answer| format!(": {}", plain(answer)));
        let Push { kind, events, sink, .. } = push;
        let user = plain(&push.user);
        writeln!(
            out,
            "{when:>8}  {user:width$}  {kind:8}  {took:>8}  {events:>6}  {sink:11}  {outcome}{answer}"
        )?;
    }
    Ok(())
}

fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}
