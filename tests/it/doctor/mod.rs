//! `pushmaild doctor`: a healthy chain, and broken ones of which it has to name the one true cause.

mod apple;
mod datagram;
mod exec;

use serde_json::Value;

use crate::support::{Config, Run, pushmaild};

const JESSE: &str = "jesse@example.org";
const JO: &str = "jo@example.org";

fn doctor(config: &Config, more: &[&str]) -> Run {
    let file = config.path().to_str().expect("the path is text");
    pushmaild(["doctor", "-c", file].iter().chain(more))
}

/// What `doctor` says, and its links with their states.
fn links(config: &Config, user: &[&str]) -> (Run, Vec<(String, String)>) {
    let arguments: Vec<_> = user.iter().copied().chain(["--json"]).collect();
    let run = doctor(config, &arguments);
    let json: Value = run.json();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let links = json["links"].as_array().expect("a list").iter();
    let links = links.map(|link| (text(&link["link"]), text(&link["state"]))).collect();
    (run, links)
}

/// Asserts that this link alone is broken, and that its message and its hint have these words.
#[track_caller]
fn assert_cause(config: &Config, user: &str, cause: &str, says: &str, hint: &str) {
    let (run, links) = links(config, &[user]);
    let broken: Vec<_> =
        links.iter().filter(|(_, state)| state == "broken").map(|(link, _)| &**link).collect();
    assert_eq!(broken, [cause], "{}", run.stdout);
    assert_eq!(run.code, 1, "{run:?}");
    let json = run.json();
    let link = json["links"].as_array().expect("a list").iter().find(|link| link["link"] == cause);
    let link = link.expect("it is there");
    assert!(link["message"].as_str().is_some_and(|message| message.contains(says)), "{link:#}");
    assert!(link["hint"].as_str().is_some_and(|text| text.contains(hint)), "{link:#}");
    let text = doctor(config, &[user]).stdout;
    assert!(text.contains(&format!("✘ {cause}")) && text.contains(says), "{text}");
    assert!(text.ends_with(&format!("broken for {user}: {cause}\n")), "{text}");
}

/// Asserts that no link is broken, and returns what is printed.
#[track_caller]
fn assert_healthy(config: &Config, user: &[&str]) -> String {
    let (run, links) = links(config, user);
    assert!(links.iter().all(|(_, state)| state == "good"), "{}", run.stdout);
    assert_eq!((run.code, run.json()["ok"].as_bool()), (0, Some(true)), "{run:?}");
    let run = doctor(config, user);
    assert!(run.code == 0 && run.stdout.contains("nothing is broken"), "{run:?}");
    run.stdout
}
