//! Lights: a shape and a word for each part of the daemon.

use std::time::Duration;

use super::{
    html::{Grouped, Html},
    verdict::{Level, is_near_limit},
};
use crate::{
    control::{
        status::{ApnsStatus, CertificateEnd, SinkState, SinkStatus, Status},
        words::{ago, duration},
    },
    count::count,
};

/// The shape of a level, beside which there is always a word.
pub(super) fn shape(level: Level) -> &'static str {
    match level {
        Level::Good => "<svg class=\"light\" aria-hidden=\"true\"><use href=\"#good\"/></svg>",
        Level::Busy => "<svg class=\"light\" aria-hidden=\"true\"><use href=\"#busy\"/></svg>",
        Level::Warning => "<svg class=\"light\" aria-hidden=\"true\"><use href=\"#warning\"/></svg>",
        Level::Trouble => "<svg class=\"light\" aria-hidden=\"true\"><use href=\"#trouble\"/></svg>",
    }
}

/// One light: what it is of, how it is, and more.
fn light(level: Level, name: &str, word: &str, detail: &str, more: &str, html: &mut Html) {
    html.raw("<li class=\"")
        .text(level.class())
        .raw("\">")
        .raw(shape(level))
        .raw("<div><p><span class=\"what\">");
    html.text(name).raw("</span> <span class=\"word\">").text(word).raw("</span></p>");
    for line in [detail, more].into_iter().filter(|line| !line.is_empty()) {
        html.raw("<p class=\"detail\">").text(line).raw("</p>");
    }
    html.raw("</div></li>");
}

/// All of them.
pub(super) fn lights(status: &Status, html: &mut Html) {
    html.raw("<section aria-labelledby=\"parts\"><h2 id=\"parts\">Parts</h2>\n<ul class=\"lights\" data-part=\"lights\">");
    for sink in &status.sinks {
        sink_light(sink, &status.time, html);
    }
    if let Some(apns) = &status.apns {
        certificate(apns, html);
    }
    let watch = &status.watch;
    let polled = match watch.polled {
        0 => String::new(),
        polled => count(Grouped(polled as u64), "directory polled", "directories polled"),
    };
    let level = if watch.is_short() || is_near_limit(status) { Level::Warning } else { Level::Good };
    let armed = Grouped(watch.watches as u64);
    let watches = match watch.limit {
        Some(limit) => format!("{armed} of {} watches", Grouped(limit)),
        None => count(armed, "watch", "watches"),
    };
    light(level, "watching", &watch.backend, &watches, &polled, html);
    let read = status.map.read_seconds_ago.map(|ago| duration(Duration::from_secs(ago)));
    let read = read.map_or_else(|| "not read yet".to_owned(), |ago| format!("read {ago} ago"));
    match &status.map.trouble {
        None => light(Level::Good, "map of users", "ok", &read, "", html),
        Some(trouble) => light(Level::Trouble, "map of users", "trouble", trouble, "the old one stays", html),
    }
    if let Some(registry) = &status.registry {
        let unwritten = match registry.unwritten {
            0 => String::new(),
            waiting => count(
                Grouped(waiting as u64),
                "registration waits for the disk",
                "registrations wait for the disk",
            ),
        };
        match &registry.trouble {
            None if registry.unwritten > 0 => light(Level::Busy, "registry", "busy", &unwritten, "", html),
            None => {
                let devices = Grouped(registry.devices.unwrap_or_default());
                light(Level::Good, "registry", "ok", &count(devices, "device", "devices"), "", html);
            }
            Some(trouble) => light(Level::Trouble, "registry", "trouble", trouble, &unwritten, html),
        }
    }
    html.raw("</ul></section>\n");
}

fn sink_light(sink: &SinkStatus, now: &str, html: &mut Html) {
    let (level, word) = match sink.state {
        SinkState::Ok => (Level::Good, "ok"),
        SinkState::Busy => (Level::Busy, "busy"),
        SinkState::Trouble => (Level::Trouble, "trouble"),
        SinkState::Unknown => (Level::Busy, "unknown"),
    };
    let mut counts = format!("{} pushed", Grouped(sink.delivered));
    for (number, what) in
        [(sink.refused, "refused"), (sink.failed, "failed"), (sink.waiting as u64, "waiting")]
    {
        if number > 0 {
            counts += &format!(", {} {what}", Grouped(number));
        }
    }
    let more = match (&sink.trouble, &sink.last_error) {
        (Some(trouble), _) => trouble.clone(),
        (None, Some(error)) => {
            let ago = ago(&error.time, now).map_or_else(String::new, |ago| format!(" {} ago", duration(ago)));
            format!("last error{ago}: {}", error.message)
        }
        (None, None) => sink.target.clone(),
    };
    light(level, &sink.name, word, &counts, &more, html);
}

fn certificate(apns: &ApnsStatus, html: &mut Html) {
    let Some(end) = apns.certificate_end() else { return };
    let (level, word) = match end {
        CertificateEnd::Passed => (Level::Trouble, "has ended".to_owned()),
        CertificateEnd::Soon(days) => (Level::Warning, format!("ends in {}", count(days, "day", "days"))),
        CertificateEnd::Far(days) => (Level::Good, format!("good for {days} days")),
    };
    let topic = apns.topic.as_deref().unwrap_or_default();
    let other = match apns.other_topic {
        0 => String::new(),
        pushes => {
            let waiting = count(Grouped(pushes), "push waits", "pushes wait");
            format!("{waiting} for phones that have another topic")
        }
    };
    let environment = apns.environment.as_deref().unwrap_or_default();
    light(level, "certificate", &word, &format!("{topic}, {environment}"), &other, html);
}
