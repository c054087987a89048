//! How long the last pushes took, over time: a dot for each, drawn here as SVG.
//!
//! All places along the time axis are percentages, so that the drawing is as wide as the screen while its letters and dots keep their size.

use std::time::{Duration, SystemTime};

use super::html::Html;
use crate::control::{status::Push, words::duration};

/// The heights of the whole drawing, and of the part between its axes; see the style sheet.
const HEIGHT: f64 = 204.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 178.0;

/// Where lines are drawn, in milliseconds: decades, until people count otherwise.
const AGES: [(f64, &str); 11] = [
    (0.01, "10 µs"),
    (0.1, "100 µs"),
    (1.0, "1 ms"),
    (10.0, "10 ms"),
    (100.0, "100 ms"),
    (1e3, "1 s"),
    (1e4, "10 s"),
    (6e4, "1 min"),
    (6e5, "10 min"),
    (3.6e6, "1 h"),
    (8.64e7, "1 d"),
];
/// What is shown at least: from one millisecond to one minute.
const USUAL: (usize, usize) = (2, 7);

/// The mark of new mail, for a line of text.
pub(super) const NEW_MAIL: &str = "<svg class=\"key\" aria-hidden=\"true\"><use href=\"#new-mail\" class=\"new-mail\" x=\"8\" y=\"8\"/></svg>";
/// The mark of a change.
pub(super) const CHANGE: &str =
    "<svg class=\"key\" aria-hidden=\"true\"><use href=\"#change\" class=\"change\" x=\"8\" y=\"8\"/></svg>";
/// The mark of what came to nothing.
const NOT_DELIVERED: &str = "<svg class=\"key\" aria-hidden=\"true\"><use href=\"#not-delivered\" class=\"not-delivered\" \
                             x=\"8\" y=\"8\"/></svg>";

/// A length of time to look back, in seconds, with what its lines are called.
struct Window {
    seconds: f64,
    called: &'static str,
    lines: &'static [(f64, &'static str)],
}

/// The shortest that holds all is taken. What is older than the last is only in the table.
const WINDOWS: [Window; 5] = [
    Window {
        seconds: 300.0,
        called: "the last 5 minutes",
        lines: &[(240.0, "4 min"), (180.0, "3 min"), (120.0, "2 min"), (60.0, "1 min")],
    },
    Window { seconds: 900.0, called: "the last 15 minutes", lines: &[(600.0, "10 min"), (300.0, "5 min")] },
    Window {
        seconds: 3600.0,
        called: "the last hour",
        lines: &[(2700.0, "45 min"), (1800.0, "30 min"), (900.0, "15 min")],
    },
    Window {
        seconds: 21_600.0,
        called: "the last 6 hours",
        lines: &[(18_000.0, "5 h"), (14_400.0, "4 h"), (10_800.0, "3 h"), (7200.0, "2 h"), (3600.0, "1 h")],
    },
    Window {
        seconds: 86_400.0,
        called: "the last day",
        lines: &[(64_800.0, "18 h"), (43_200.0, "12 h"), (21_600.0, "6 h")],
    },
];

/// Draws it.
pub(super) fn draw(pushes: &[Push], now: &str, html: &mut Html) {
    let Ok(now) = humantime::parse_rfc3339(now) else { return };
    let dots: Vec<_> = pushes.iter().filter_map(|push| Some((seconds_before(now, push)?, push))).collect();
    let longest = WINDOWS[WINDOWS.len() - 1].seconds;
    let dots: Vec<_> = dots.into_iter().filter(|(before, _)| *before <= longest).collect();
    if dots.is_empty() {
        html.raw("<p class=\"empty\">Nothing was pushed within a day. What comes is drawn here.</p>");
        return;
    }
    let oldest = dots.iter().map(|(before, _)| *before).fold(0.0, f64::max);
    let window =
        WINDOWS.iter().find(|window| window.seconds >= oldest).unwrap_or(&WINDOWS[WINDOWS.len() - 1]);
    let scale = Scale::of(dots.iter().map(|(_, push)| push.age_ms));

    let news = summary(&dots, "new-mail");
    let changes = summary(&dots, "change");
    html.raw("<div class=\"legend\"><span>").raw(NEW_MAIL).raw(" new mail");
    html.text(&news).raw("</span><span>").raw(CHANGE).raw(" change");
    html.text(&changes).raw("</span>");
    if dots.iter().any(|(_, push)| push.outcome != "delivered") {
        html.raw("<span>").raw(NOT_DELIVERED).raw(" not delivered</span>");
    }
    html.raw("</div><div class=\"chart\" role=\"img\" aria-label=\"How long ");
    html.text(dots.len()).raw(" pushes of ").text(window.called).raw(" took: new mail").text(&news);
    html.raw("; changes").text(&changes).raw("\"><svg class=\"ages\" aria-hidden=\"true\">");
    for (age, name) in scale.lines() {
        html.raw("<text x=\"100%\" y=\"").text(two(scale.y(*age) + 4.0)).raw("\">").text(name).raw("</text>");
    }
    html.raw("</svg><svg class=\"plot\" aria-hidden=\"true\">");
    for (age, _) in scale.lines() {
        let y = two(scale.y(*age));
        html.raw("<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"")
            .text(&y)
            .raw("\" y2=\"")
            .text(&y)
            .raw("\"/>");
    }
    for (number, (before, name)) in window.lines.iter().enumerate() {
        let x = percent(*before, window);
        html.raw("<line class=\"grid\" y1=\"10\" y2=\"178\" x1=\"").text(&x).raw("\" x2=\"").text(&x);
        // On a narrow screen there is room for every other name, and not beside `now`.
        let is_odd = (window.lines.len() - number) % 2 == 1;
        html.raw("\"/><text class=\"").raw(if is_odd { "when wide" } else { "when" });
        html.raw("\" y=\"198\" x=\"").text(&x).raw("\">−").text(name).raw("</text>");
    }
    html.raw("<text class=\"now\" y=\"198\" x=\"100%\">now</text>");
    // The newest is drawn last, on top of the others.
    for (before, push) in dots.iter().rev() {
        dot(push, &percent(*before, window), &two(scale.y(push.age_ms)), html);
    }
    html.raw("</svg></div>");
}

fn dot(push: &Push, x: &str, y: &str, html: &mut Html) {
    html.raw(match (&*push.outcome, &*push.kind) {
        ("delivered", "new-mail") => "<use href=\"#new-mail\" class=\"new-mail\" x=\"",
        ("delivered", _) => "<use href=\"#change\" class=\"change\" x=\"",
        _ => "<use href=\"#not-delivered\" class=\"not-delivered\" x=\"",
    });
    html.text(x).raw("\" y=\"").text(y).raw("\"><title>").text(&push.user).raw(": ").text(&push.kind);
    html.raw(", ").text(took(push.age_ms)).raw(", ").text(&push.outcome).raw("</title></use>");
}

/// A length of time, as pushes have them.
pub(super) fn took(age_ms: f64) -> String {
    match age_ms {
        ..1.0 => format!("{:.0} µs", age_ms.max(0.0) * 1000.0),
        1.0..1000.0 => format!("{age_ms:.0} ms"),
        _ => duration(Duration::try_from_secs_f64(age_ms / 1000.0).unwrap_or(Duration::MAX)),
    }
}

/// What half of the delivered pushes of a kind took at most, and how many these are.
pub(super) fn median<'a>(pushes: impl Iterator<Item = &'a Push>, kind: &str) -> Option<(f64, usize)> {
    let is_of_it = |push: &&Push| push.kind == kind && push.outcome == "delivered";
    let mut ages: Vec<f64> = pushes.filter(is_of_it).map(|push| push.age_ms).collect();
    ages.sort_by(f64::total_cmp);
    Some((*ages.get(ages.len() / 2)?, ages.len()))
}

fn summary(dots: &[(f64, &Push)], kind: &str) -> String {
    match median(dots.iter().map(|(_, push)| *push), kind) {
        Some((median, _)) => format!(": median {}", took(median)),
        None => ": none".to_owned(),
    }
}

fn seconds_before(now: SystemTime, push: &Push) -> Option<f64> {
    let at = humantime::parse_rfc3339(&push.time).ok()?;
    Some(now.duration_since(at).unwrap_or_default().as_secs_f64())
}

fn percent(before: f64, window: &Window) -> String {
    format!("{}%", two((1.0 - before / window.seconds) * 100.0))
}

fn two(number: f64) -> String {
    format!("{number:.2}")
}

/// The axis of ages, which is logarithmic.
struct Scale {
    from: usize,
    to: usize,
}

impl Scale {
    fn of(ages: impl Iterator<Item = f64> + Clone) -> Self {
        let (least, most) =
            ages.fold((f64::MAX, 0.0f64), |(least, most), age| (least.min(age), most.max(age)));
        let from = AGES.iter().rposition(|(age, _)| *age <= least).unwrap_or(0);
        let to = AGES.iter().position(|(age, _)| *age >= most).unwrap_or(AGES.len() - 1);
        Self { from: from.min(USUAL.0), to: to.max(USUAL.1) }
    }

    fn lines(&self) -> &'static [(f64, &'static str)] {
        &AGES[self.from..=self.to]
    }

    fn y(&self, age: f64) -> f64 {
        let (from, to) = (AGES[self.from].0.ln(), AGES[self.to].0.ln());
        let share = ((age.max(f64::MIN_POSITIVE).ln() - from) / (to - from)).clamp(0.0, 1.0);
        BOTTOM - share * (BOTTOM - TOP)
    }
}

const _: () = assert!(HEIGHT > BOTTOM && BOTTOM > TOP);

#[cfg(test)]
mod tests {
    use super::*;

    fn push(time: &str, kind: &str, age_ms: f64, outcome: &str) -> Push {
        Push {
            time: time.to_owned(),
            user: "<jo>".to_owned(),
            kind: kind.to_owned(),
            age_ms,
            events: 1,
            sink: "apns".to_owned(),
            outcome: outcome.to_owned(),
            answer: None,
        }
    }

    fn drawn(pushes: &[Push]) -> String {
        let mut html = Html::default();
        draw(pushes, "2026-01-02T00:00:00Z", &mut html);
        html.finish()
    }

    #[test]
    fn each_push_has_its_place() {
        let pushes = [
            push("2026-01-02T00:00:00Z", "new-mail", 1.0, "delivered"),
            push("2026-01-01T23:57:30Z", "change", 60_000.0, "delivered"),
            push("2026-01-01T23:57:30Z", "change", 60_000.0, "refused"),
        ];
        let svg = drawn(&pushes);
        assert!(svg.contains("href=\"#new-mail\" class=\"new-mail\" x=\"100.00%\" y=\"178.00\""), "{svg}");
        assert!(svg.contains("href=\"#change\" class=\"change\" x=\"50.00%\" y=\"10.00\""), "{svg}");
        assert!(
            svg.contains("class=\"not-delivered\" x=\"50.00%\"") && svg.contains("not delivered"),
            "{svg}"
        );
        assert!(svg.contains("the last 5 minutes") && svg.contains("new mail: median 1 ms"), "{svg}");
        assert!(svg.contains("<title>&lt;jo&gt;: ") && !svg.contains("<jo>"), "{svg}");
    }

    #[test]
    fn it_holds_what_is_unusual() {
        let ancient = push("2025-12-24T00:00:00Z", "change", 1.0, "delivered");
        assert!(drawn(std::slice::from_ref(&ancient)).contains("Nothing was pushed within a day"));
        assert!(drawn(&[]).contains("Nothing was pushed"));
        for (age, line) in [(0.0, "10 µs"), (0.2, "100 µs"), (3e6, "1 h"), (1e12, "1 d"), (f64::NAN, "1 min")]
        {
            let svg = drawn(&[ancient.clone(), push("2026-01-01T12:00:00Z", "change", age, "delivered")]);
            assert!(svg.contains(line) && svg.contains("the last day"), "{age}: {svg}");
        }
        let later = push("2026-01-03T00:00:00Z", "change", 1.0, "delivered");
        assert!(drawn(&[later]).contains("x=\"100.00%\""), "a clock that was set back");
    }
}
