//! What Prometheus and Grafana are given, tried with promtool.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pushmaild::sink::apns::judgement::ENDS_SOON;
use serde_json::Value;

use super::super::{JESSE, JO};
use super::{address, config, config_with_apple, get, register};
use crate::support::{Apns, Site, eventually};

/// The samples of a text: names with their labels, and values.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
    };
    lines.map(sample).collect()
}

fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("promtool: {e}\nhint: apt-get install prometheus"));
    // It reads nothing where it is given files.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}");
    // Its advice about names does not make it fail.
    if arguments[1] == "metrics" {
        assert_eq!(said, "");
    }
}

fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A daemon with all that can be configured, some of it used; and its metrics as soon as all of that is counted.
fn everything() -> String {
    let site = Site::new();
    let apns = Apns::start(site.path("apns"));
    let jesse = site.maildir(JESSE);
    let jo = site.maildir(JO);
    let receiver = site.receiver();
    let users = format!("{{ missing = {:?} }}", site.path("nowhere"));
    let daemon = site.start(&config_with_apple(&site, &apns).set_raw("mailboxes.users", &users));
    let to = address(&daemon);
    register(&site, JESSE, 1);
    let unique = jesse.deliver();
    receiver.expect(JESSE);
    jesse.set_flags(&unique, "S");
    receiver.expect(JESSE);
    jo.deliver();
    receiver.expect(JO);
    let metrics = eventually("all pushes are counted", || {
        let answer = get(to, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let samples = samples(&answer.body);
        let pushed = |sink, kind| {
            let labels = format!("kind=\"{kind}\",outcome=\"delivered\",sink=\"{sink}\"");
            samples[&format!("pushmaild_pushes_total{{{labels}}}")]
        };
        let apple = (pushed("apns", "new-mail"), pushed("apns", "change"));
        let socket = (pushed("push-notify", "new-mail"), pushed("push-notify", "change"));
        // A push is counted a moment before it has left its queue.
        let is_at_rest = samples["pushmaild_queue_length{queue=\"apns\"}"] == 0.0;
        (is_at_rest && apple == (1.0, 1.0) && socket == (2.0, 1.0)).then_some(answer.body)
    });
    daemon.stop();
    metrics
}

#[test]
fn they_say_what_happened_and_promtool_has_no_complaint() {
    let text = everything();
    promtool(&["check", "metrics"], &text);
    let samples = samples(&text);
    for (name, value) in [
        ("pushmaild_ready", 1.0),
        ("pushmaild_build_info{version=\"0.1.0\"}", 1.0),
        ("pushmaild_backend_info{backend=\"inotify\"}", 1.0),
        ("pushmaild_mailboxes{state=\"watched\"}", 2.0),
        ("pushmaild_mailboxes{state=\"missing\"}", 1.0),
        ("pushmaild_mailboxes{state=\"trouble\"}", 0.0),
        ("pushmaild_mailboxes{state=\"other\"}", 0.0),
        ("pushmaild_map_up", 1.0),
        ("pushmaild_sink_up{sink=\"apns\"}", 1.0),
        ("pushmaild_sink_up{sink=\"push-notify\"}", 1.0),
        ("pushmaild_sink_up{sink=\"exec\"}", 1.0),
        ("pushmaild_queue_length{queue=\"apns\"}", 0.0),
        ("pushmaild_queue_length{queue=\"catching-up\"}", 0.0),
        ("pushmaild_push_age_seconds_count{kind=\"new-mail\",sink=\"push-notify\"}", 2.0),
        ("pushmaild_push_age_seconds_bucket{kind=\"change\",sink=\"apns\",le=\"+Inf\"}", 1.0),
        // The change waited for 300 ms of quiet.
        ("pushmaild_push_age_seconds_bucket{kind=\"change\",sink=\"apns\",le=\"0.25\"}", 0.0),
        ("pushmaild_devices{state=\"active\"}", 1.0),
        ("pushmaild_devices{state=\"suspended\"}", 0.0),
        ("pushmaild_apns_users", 1.0),
        ("pushmaild_apns_connections_total", 1.0),
        ("pushmaild_registry_up", 1.0),
        ("pushmaild_registry_unwritten", 0.0),
        ("pushmaild_listener_requests_total{listener=\"xaps-socket\",outcome=\"taken\"}", 1.0),
        ("pushmaild_overflows_total", 0.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}\n{text}");
    }
    assert!(samples["pushmaild_events_total"] >= 3.0 && samples["pushmaild_watches"] >= 4.0);
    assert!(samples["process_resident_memory_bytes"] > 1e6);
    let left = samples["pushmaild_certificate_expiry_seconds"];
    let end = samples["pushmaild_certificate_expiry_timestamp_seconds"];
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs_f64();
    assert!(left > 86_400.0 && (end - now - left).abs() < 60.0, "{left} {end}");
    assert!((now - samples["pushmaild_start_time_seconds"]) < 600.0);
    assert!(!text.contains("example.org"), "no user, and no path with one");
}

#[test]
fn without_apple_there_is_nothing_of_it() {
    let site = Site::new();
    let daemon = site.start(&config(&site));
    let text = get(address(&daemon), "/metrics").body;
    promtool(&["check", "metrics"], &text);
    assert!(
        text.contains("sink=\"push-notify\"") && !text.contains("apns") && !text.contains("certificate"),
        "{text}"
    );
    daemon.stop();
}

/// They ring when `check` and the page begin to warn.
#[test]
fn the_alert_of_a_certificate_has_the_figure_of_the_daemon() {
    let rules =
        fs::read_to_string(project_file("packaging/prometheus/pushmaild.rules.yml")).expect("it is there");
    let alert = rules.split("- alert: ").find(|alert| alert.starts_with("PushmaildCertificateEnds\n"));
    let soon = format!("pushmaild_certificate_expiry_timestamp_seconds - time() < {ENDS_SOON} * 86400\n");
    assert!(alert.is_some_and(|alert| alert.contains(&soon)), "{rules}");
}

#[test]
fn the_alerts_ring_when_they_should() {
    let folder = "packaging/prometheus";
    let file = |name: &str| project_file(&format!("{folder}/{name}")).to_string_lossy().into_owned();
    promtool(&["check", "rules", &file("pushmaild.rules.yml")], "");
    promtool(&["test", "rules", &file("pushmaild.rules.test.yml")], "");
    promtool(&["check", "config", "--syntax-only", &file("pushmaild.scrape.yml")], "");
}

/// Names of metrics in a text, without what histograms add to theirs.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("pushmaild_") || word.starts_with("process_"));
    let plain = |word: &str| {
        let ends = ["_bucket", "_count", "_sum"];
        ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    ours.map(plain).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_there_are() {
    let text = everything();
    let there = names(&text);
    let dashboard =
        fs::read_to_string(project_file("packaging/grafana/pushmaild.json")).expect("it is there");
    let json: Value = serde_json::from_str(&dashboard).expect("it is JSON");
    let panels = json["panels"].as_array().expect("a list");
    let mut asked = BTreeSet::new();
    for panel in panels {
        for target in panel["targets"].as_array().expect("a list") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
            asked.extend(names(target["expr"].as_str().expect("text")));
        }
    }
    assert!(panels.len() > 10 && asked.len() > 15, "{asked:?}");
    let rules =
        fs::read_to_string(project_file("packaging/prometheus/pushmaild.rules.yml")).expect("it is there");
    let rules: String = rules.lines().filter(|line| !line.trim_start().starts_with("description")).collect();
    let alerts = names(&rules);
    assert!(alerts.len() > 8, "{alerts:?}");
    asked.extend(alerts);
    let missing: Vec<_> = asked.difference(&there).collect();
    assert_eq!(missing, Vec::<&String>::new(), "{text}");
    // And the documents do not promise others.
    let document = fs::read_to_string(project_file("docs/monitoring.md")).expect("it is there");
    let told = names(&document);
    assert!(told.len() > 15, "{told:?}");
    assert_eq!(told.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new());
}
