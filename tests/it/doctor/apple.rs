//! Chains that end at Apple.

use std::fs;

use super::{JESSE, assert_cause, assert_healthy, doctor, links};
use crate::support::{Apns, Config, Daemon, Site, pushmaild};

const TOKEN: &str = "2918390218931890821908309283098109381029309829018310983092892829";
const ACCOUNT: &str = "0715A26B-CA09-4730-A419-793000CA982E";
const TOPIC: &str = "com.apple.mobilemail.push.example";

/// A site with Apple as the only sink.
struct Chain {
    site: Site,
    apns: Apns,
    config: Config,
}

impl Chain {
    fn new() -> Self {
        let site = Site::new();
        site.maildir(JESSE);
        let apns = Apns::start(site.path("apns"));
        let config = site
            .config()
            .without("push-notify")
            .set("apns.certificate", &apns.file("client.pem"))
            .set("apns.ca-file", &apns.file("ca.pem"))
            .set("apns.endpoint", &apns.endpoint())
            .set("watch.mailboxes", "all");
        Self { site, apns, config }
    }

    fn start(&self) -> Daemon {
        self.site.start(&self.config)
    }

    /// Registers a device, as if the phone had done so and had been told this topic.
    #[track_caller]
    fn register(&self, topic: &str) {
        self.config.write();
        let file = self.config.path().to_str().expect("the path is text");
        let run = pushmaild([
            "devices",
            "add",
            "-c",
            file,
            JESSE,
            "--token",
            TOKEN,
            "--account",
            ACCOUNT,
            "--topic",
            topic,
        ]);
        assert_eq!(run.code, 0, "{run:?}");
    }
}

#[test]
fn a_healthy_user_and_a_healthy_daemon() {
    let mut chain = Chain::new();
    chain.register(TOPIC);
    let _daemon = chain.start();
    let text = assert_healthy(&chain.config, &[JESSE]);
    for part in ["it accepts the credential and the topic", "1 device; none was pushed to yet", TOPIC] {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
    assert_healthy(&chain.config, &[]);
    // Two questions, both with a token that nobody has.
    let asked = chain.apns.received();
    assert!(
        asked.iter().all(|request| request.status == 400 && request.token.as_deref() != Some(TOKEN)),
        "{asked:?}"
    );

    chain.site.maildir(JESSE).deliver();
    let pushed = chain.apns.wait_until(|request| request.status == 200);
    assert_eq!(pushed.last().expect("it was pushed").token.as_deref(), Some(TOKEN));
    crate::support::eventually("the answer is stored", || {
        let text = doctor(&chain.config, &[JESSE]).stdout;
        (text.contains("Apple said 200") && text.contains("new-mail through apns, delivered")).then_some(())
    });
    assert_healthy(&chain.config, &[JESSE]);
    let _ = chain.apns.next();
    let file = chain.config.path().to_str().expect("the path is text");
    let status = pushmaild(["status", "-c", file, "--json"]).json();
    let user = &status["users"][0];
    let device = &user["devices"][0];
    assert_eq!((&device["state"], &device["last_answer"]), (&"active".into(), &"200".into()), "{user:#}");
    assert!(device["last_push"].is_string() && user["last_push"] == device["last_push"], "{user:#}");
    assert!(!status.to_string().contains(TOKEN), "a token is never shown whole");
}

#[test]
fn a_user_without_a_device() {
    let chain = Chain::new();
    let _daemon = chain.start();
    assert_cause(&chain.config, JESSE, "devices", "has no registered device", "open Mail there");
}

#[test]
fn a_user_who_wants_no_pushes() {
    let chain = Chain::new();
    chain.register(TOPIC);
    let file = chain.config.path().to_str().expect("the path is text");
    assert_eq!(pushmaild(["devices", "opt-out", "-c", file, JESSE]).code, 0);
    let _daemon = chain.start();
    assert_cause(&chain.config, JESSE, "devices", "wants no pushes", "devices opt-in jesse@example.org");
}

#[test]
fn a_phone_that_was_told_another_topic() {
    let chain = Chain::new();
    chain.register("com.apple.mobilemail.push.old");
    let _daemon = chain.start();
    assert_cause(
        &chain.config,
        JESSE,
        "devices",
        "com.apple.mobilemail.push.old",
        "turn the account off and on",
    );
}

#[test]
fn a_certificate_that_has_ended() {
    let mut chain = Chain::new();
    chain.config = chain.config.set("apns.certificate", &chain.apns.file("expired.pem"));
    chain.register(TOPIC);
    let _daemon = chain.start();
    assert_cause(&chain.config, JESSE, "credential", "the certificate expired", "");
}

#[test]
fn a_certificate_that_is_not_there() {
    let chain = Chain::new();
    chain.register(TOPIC);
    let _daemon = chain.start();
    fs::remove_file(chain.apns.file("client.pem")).expect("it is there");
    let (run, links) = links(&chain.config, &[JESSE]);
    assert!(links.contains(&("credential".to_owned(), "broken".to_owned())), "{}", run.stdout);
}

#[test]
fn a_credential_that_apple_refuses() {
    let chain = Chain::new();
    chain.register(TOPIC);
    let _daemon = chain.start();
    chain.apns.tell("answer 403 BadCertificate count 10");
    assert_cause(&chain.config, JESSE, "Apple", "403 BadCertificate", "revoked");
}

#[test]
fn apple_that_cannot_be_reached() {
    let mut chain = Chain::new();
    chain.register(TOPIC);
    let _daemon = chain.start();
    chain.apns.kill();
    assert_cause(&chain.config, JESSE, "Apple", "refused", "");
}

#[test]
fn a_mailbox_that_is_watched_only_with_a_device() {
    let mut chain = Chain::new();
    chain.config = chain.config.set("watch.mailboxes", "registered");
    let _daemon = chain.start();
    let (run, links) = links(&chain.config, &[JESSE]);
    let broken: Vec<_> =
        links.iter().filter(|(_, state)| state == "broken").map(|(link, _)| &**link).collect();
    assert_eq!(broken, ["watched", "devices"], "{}", run.stdout);
}

#[test]
fn a_device_under_another_name_counts_although_one_wants_no_pushes() {
    let mut chain = Chain::new();
    let maildir = chain.site.maildir_path(JESSE);
    chain.config = chain.config.set_raw("mailboxes.users", &format!("{{ alias = {maildir:?} }}"));
    chain.register(TOPIC);
    let file = chain.config.path().to_str().expect("the path is text");
    assert_eq!(pushmaild(["devices", "opt-out", "-c", file, "alias"]).code, 0);
    let _daemon = chain.start();
    assert_healthy(&chain.config, &[JESSE]);
    assert!(assert_healthy(&chain.config, &["alias"]).contains("1 device"));
}

#[test]
fn whoever_has_no_phone_is_pushed_to_through_the_other_sink() {
    let mut chain = Chain::new();
    let _receiver = chain.site.receiver();
    let socket = chain.site.socket();
    chain.config = chain.config.set("push-notify.socket", &socket.to_string_lossy());
    let _daemon = chain.start();
    let (run, links) = links(&chain.config, &[JESSE]);
    assert!(links.contains(&("devices".to_owned(), "warning".to_owned())), "{}", run.stdout);
    assert_eq!(run.code, 0, "{}", run.stdout);
}
