//! The status page: complete as it comes from here, also where no script runs. The script only fetches it anew and puts what has changed
//! in the old one's place, so that there is one way in which things are shown.

mod chart;
mod html;
mod lights;
mod verdict;

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use ring::digest::{SHA256, digest};

use self::{
    html::{Grouped, Html},
    lights::{lights, shape},
    verdict::{Level, headline, reasons},
};
use super::{
    status::{Push, Status, Trouble},
    words::{ago, duration},
};
use crate::count::count;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The shapes of lights and dots.
const SHAPES: &str = include_str!("shapes.svg");
/// Pushes in the table.
const PUSHES: usize = 50;

/// What the page may do: run its own script in its own style, and fetch itself.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; connect-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT),
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The Content-Security-Policy of the page.
pub(super) fn policy() -> HeaderValue {
    POLICY.clone()
}

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// The page.
pub(super) fn page(status: &Status) -> String {
    let reasons = reasons(status);
    let (level, title) = headline(&reasons);
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
    html.text(&title).raw(
        " · pushmaild</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    );
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"build\" content=\"");
    // A page of another version cannot take over the parts of this one.
    html.text(&status.version).text(hash(SCRIPT)).text(hash(STYLE)).raw("\">\n<link rel=\"icon\" href=\"");
    icon(level, &mut html);
    html.raw("\">\n<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n<style>");
    html.raw(STYLE).raw("</style>\n</head>\n<body>\n").raw(SHAPES);
    html.raw("<div id=\"stale\" role=\"status\"></div>\n");
    header(status, &mut html);
    html.raw("<main>\n<section class=\"headline\" aria-live=\"polite\" data-part=\"headline\">");
    html.raw("<div class=\"")
        .text(level.class())
        .raw("\">")
        .raw(shape(level))
        .raw("<div><h1>")
        .text(&title)
        .raw("</h1>");
    if let [only] = &reasons[..] {
        html.raw("<p>").text(&only.why).raw("</p>");
    } else if !reasons.is_empty() {
        html.raw("<ul>");
        for reason in &reasons {
            html.raw("<li><strong>").text(&reason.what).raw("</strong>: ").text(&reason.why).raw("</li>");
        }
        html.raw("</ul>");
    }
    html.raw("</div></div></section>\n");
    numbers(status, &mut html);
    html.raw("<div class=\"columns\">\n<div>\n<section aria-labelledby=\"latency\"><div class=\"title\">");
    html.raw("<h2 id=\"latency\">How long pushes took</h2><p class=\"note\">from the first event to the end of the push; ");
    html.raw("a change waits for quiet first</p></div>\n<div data-part=\"chart\">");
    chart::draw(&status.pushes, &status.time, &mut html);
    html.raw("</div></section>\n");
    pushes(&status.pushes, &mut html);
    html.raw("</div>\n<div>\n");
    lights(status, &mut html);
    troubles(status, &mut html);
    listeners(status, &mut html);
    html.raw("</div>\n</div>\n</main>\n");
    footer(status, &mut html);
    html.raw("<script>").raw(SCRIPT).raw("</script>\n</body>\n</html>\n");
    html.finish()
}

fn header(status: &Status, html: &mut Html) {
    html.raw("<header><p class=\"name\">pushmaild <span>").text(&status.version);
    html.raw("</span></p><p class=\"at\" data-part=\"at\">");
    if let Some(up) = ago(&status.started, &status.time) {
        html.raw("up ").text(duration(up)).raw(" · ");
    }
    html.raw("as of ");
    time(&status.time, html);
    html.raw("</p></header>\n");
}

fn footer(status: &Status, html: &mut Html) {
    html.raw("<footer data-part=\"footer\"><p>process ")
        .text(status.pid)
        .raw(" · <span class=\"path\">")
        .text(&status.config);
    html.raw("</span></p><p><a href=\"metrics\">metrics</a> · <a href=\"status.json\">status as JSON</a></p></footer>\n");
}

/// A time of day, which the script turns into the reader's own.
fn time(time: &str, html: &mut Html) {
    let clock = time.get(11..19).unwrap_or(time);
    html.raw("<time datetime=\"").text(time).raw("\">").text(clock).raw(" UTC</time>");
}

fn numbers(status: &Status, html: &mut Html) {
    let Status { mailboxes, watch, pending, sinks, .. } = status;
    html.raw("<section aria-label=\"Numbers\"><dl class=\"numbers\" data-part=\"numbers\">");
    html.raw("<div><dt>mailboxes</dt><dd>")
        .count(mailboxes.watched as u64)
        .raw("</dd><dd class=\"of\">watched of ");
    html.count(mailboxes.total as u64);
    if mailboxes.only_registered {
        html.raw(", those with a device");
    } else if mailboxes.missing > 0 {
        html.raw(", ").count(mailboxes.missing as u64).raw(" not there yet");
    }
    html.raw("</dd></div><div><dt>pushed</dt><dd>").count(sinks.iter().map(|sink| sink.delivered).sum());
    html.raw("</dd><dd class=\"of\">");
    let last = status.pushes.iter().find(|push| push.outcome == "delivered");
    match last.and_then(|push| ago(&push.time, &status.time)) {
        Some(ago) => html.raw("the last ").text(duration(ago)).raw(" ago"),
        None => html.raw("since the start"),
    };
    html.raw("</dd></div>");
    if let Some((median, of)) = chart::median(status.pushes.iter(), "new-mail") {
        html.raw("<div><dt>new mail in</dt><dd>").text(chart::took(median));
        html.raw("</dd><dd class=\"of\">median of the last ").count(of as u64).raw("</dd></div>");
    }
    let waiting: usize = sinks.iter().map(|sink| sink.waiting).sum();
    html.raw("<div><dt>waiting</dt><dd>").count((pending.debounced + pending.catching_up + waiting) as u64);
    html.raw("</dd><dd class=\"of\">").count(pending.debounced as u64).raw(" for quiet");
    if waiting > 0 {
        html.raw(", ").count(waiting as u64).raw(" for a sink");
    }
    if pending.catching_up > 0 {
        html.raw(", ").count(pending.catching_up as u64).raw(" to catch up with");
    }
    html.raw("</dd></div>");
    if let Some(registry) = status.registry.as_ref().filter(|_| status.apns.is_some()) {
        html.raw("<div><dt>devices</dt><dd>");
        match registry.devices {
            Some(devices) => html.count(devices),
            None => html.raw("?"),
        };
        html.raw("</dd><dd class=\"of\">");
        match (registry.suspended, &status.apns) {
            (Some(suspended), _) if suspended > 0 => html.count(suspended).raw(" suspended"),
            (_, Some(apns)) => html.raw("of ").text(count(Grouped(apns.users as u64), "user", "users")),
            _ => html,
        };
        html.raw("</dd></div>");
    }
    html.raw("<div><dt>events</dt><dd>").count(watch.events).raw("</dd><dd class=\"of\">");
    match watch.overflows {
        0 => html.raw("none dropped"),
        1 => html.raw("dropped once, all looked at"),
        times => html.raw("dropped ").count(times).raw(" times, all looked at"),
    };
    html.raw("</dd></div></dl></section>\n");
}

fn pushes(pushes: &[Push], html: &mut Html) {
    html.raw("<section aria-labelledby=\"recent\"><h2 id=\"recent\">Recent pushes</h2>\n<table class=\"pushes\"><thead><tr>");
    html.raw(
        "<th scope=\"col\">When</th><th scope=\"col\">User</th><th scope=\"col\" class=\"wide\">What</th>",
    );
    html.raw(
        "<th scope=\"col\" class=\"number\">Took</th><th scope=\"col\" class=\"wide number\">Events</th>",
    );
    html.raw("<th scope=\"col\" class=\"wide\">Through</th><th scope=\"col\"><span>Outcome</span></th></tr></thead>\n");
    html.raw("<tbody data-part=\"pushes\" data-rows aria-live=\"polite\" aria-relevant=\"additions\">");
    for push in pushes.iter().take(PUSHES) {
        let is_new = push.kind == "new-mail";
        html.raw("<tr data-key=\"")
            .text(format_args!("{}/{}/{}/{}", push.time, push.age_ms, push.sink, push.user));
        html.raw("\"><td>");
        time(&push.time, html);
        html.raw("</td><td class=\"user\"><bdi>").text(&push.user).raw("</bdi><span class=\"narrow\">");
        html.raw(if is_new { "new mail" } else { "change" }).raw(" through ").text(&push.sink);
        html.raw("</span></td><td class=\"wide\">");
        html.raw(if is_new { chart::NEW_MAIL } else { chart::CHANGE });
        html.raw(if is_new { " new mail</td>" } else { " change</td>" })
            .raw("<td class=\"number\">")
            .text(chart::took(push.age_ms))
            .raw("</td><td class=\"wide number\">");
        html.count(push.events.into()).raw("</td><td class=\"wide\">").text(&push.sink);
        html.raw(if push.outcome == "delivered" {
            "</td><td class=\"good\">"
        } else {
            "</td><td class=\"trouble\">"
        });
        html.raw(shape(if push.outcome == "delivered" { Level::Good } else { Level::Trouble }));
        html.raw("<span>").text(&push.outcome);
        if let Some(answer) = &push.answer {
            html.raw(": ").text(answer);
        }
        html.raw("</span></td></tr>");
    }
    html.raw("</tbody></table>\n<p class=\"empty\" data-part=\"no-push\">");
    if pushes.is_empty() {
        html.raw("No push yet.");
    }
    html.raw("</p></section>\n");
}

fn troubles(status: &Status, html: &mut Html) {
    html.raw("<div data-part=\"troubles\">");
    if !status.troubles.is_empty() {
        html.raw("<section aria-labelledby=\"not-watched\"><h2 id=\"not-watched\">Not watched</h2>\n<ul class=\"troubles\">");
        for Trouble { user, maildir, reason } in &status.troubles {
            html.raw("<li><p class=\"user\"><bdi>")
                .text(user)
                .raw("</bdi></p><p class=\"detail\">")
                .text(reason);
            // Most reasons name a directory of it.
            if !reason.contains(&**maildir) {
                html.raw(": <span class=\"path\">").text(maildir).raw("</span>");
            }
            html.raw("</p></li>");
        }
        html.raw("</ul>");
        let all = status.mailboxes.in_trouble + status.mailboxes.missing;
        if let Some(more) = all.checked_sub(status.troubles.len()).filter(|more| *more > 0) {
            html.raw("<p class=\"note\">and ")
                .count(more as u64)
                .raw(" more; <code>pushmaild users</code> lists them</p>");
        }
        html.raw("</section>");
    }
    html.raw("</div>\n");
}

fn listeners(status: &Status, html: &mut Html) {
    if status.listeners.is_empty() {
        return;
    }
    html.raw("<section aria-labelledby=\"listening\"><h2 id=\"listening\">Registrations</h2>\n");
    html.raw("<table><thead><tr><th scope=\"col\">Listening on</th>");
    html.raw("<th scope=\"col\" class=\"number\">Taken</th>");
    html.raw("<th scope=\"col\" class=\"number\">Refused</th><th scope=\"col\" class=\"number\">Failed</th>");
    html.raw("</tr></thead>\n<tbody data-part=\"listeners\">");
    for listener in &status.listeners {
        html.raw("<tr><td>").text(&listener.name);
        for count in [listener.taken, listener.refused, listener.failed] {
            html.raw("</td><td class=\"number\">").count(count);
        }
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table></section>\n");
}

/// The shape for the tab of the browser.
fn icon(level: Level, html: &mut Html) {
    html.raw("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3C");
    html.raw(match level {
        Level::Good => "circle cx='8' cy='8' r='7' fill='%2322935a'",
        Level::Busy => "circle cx='8' cy='8' r='5.5' fill='none' stroke='%23b87a1e' stroke-width='3'",
        Level::Warning => "path d='M8 0l8 8-8 8-8-8z' fill='%23b87a1e'",
        Level::Trouble => "path d='M8 0l8 15H0z' fill='%23d0392e'",
    });
    html.raw("/%3E%3C/svg%3E");
}
