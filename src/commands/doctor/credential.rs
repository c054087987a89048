//! The credential for Apple, and whether Apple takes it: the probe with a device token of zeros, which nobody has.

use std::time::SystemTime;

use super::{
    super::apple::{self, Apple},
    chain::Chain,
    daemon::Daemon,
    sinks,
};
use crate::{
    config::Apns,
    mailbox::Username,
    registry::{Key, NewRegistration, Registration, Timestamp},
    sink::apns::{
        judgement::judge,
        settings::{self, Loaded},
    },
};

/// No device has it.
const NOBODYS_TOKEN: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const NOBODYS_ACCOUNT: &str = "00000000-0000-0000-0000-000000000000";

/// Tests the credential, and Apple's word on it. Returns the topic that it is for.
pub(super) fn test(chain: &mut Chain, apns: &Apns, daemon: Option<&Daemon>) -> Option<String> {
    let loaded = match settings::load(apns) {
        Ok(loaded) => loaded,
        Err(unusable) => {
            chain.broken("credential", unusable.message, unusable.hint);
            chain.untested("Apple", "there is no credential to ask with");
            return settings::topic(apns, None);
        }
    };
    let topic = settings::topic(apns, Some(&loaded));
    let is_good = credential(chain, &loaded, topic.as_deref());
    let Some(topic) = topic else {
        chain.untested("Apple", "there is no topic to ask for");
        return None;
    };
    if is_good {
        probe(chain, apns, &topic, daemon);
    } else {
        chain.untested("Apple", "the credential is broken");
    }
    Some(topic)
}

/// Is the credential good, as far as can be seen in its files?
fn credential(chain: &mut Chain, loaded: &Loaded, topic: Option<&str>) -> bool {
    const LINK: &str = "credential";
    let Loaded { credential, environment, .. } = loaded;
    let now = SystemTime::now();
    let findings = judge(loaded, topic, now);
    if let Some(fatal) = findings.iter().find(|finding| finding.is_fatal()) {
        chain.broken(LINK, fatal.to_string(), fatal.hint());
        return false;
    }
    let text = format!("{}, {environment}, for the topic {}", credential.subject(), topic.unwrap_or("none"));
    if findings.is_empty() {
        let days = credential.days_left(now);
        let days = days.map_or_else(String::new, |days| format!("; good for {days} days"));
        chain.good(LINK, format!("{text}{days}"));
    }
    for finding in &findings {
        chain.warning(LINK, format!("{text}; {finding}"), finding.hint());
    }
    true
}

fn probe(chain: &mut Chain, apns: &Apns, topic: &str, daemon: Option<&Daemon>) {
    const LINK: &str = "Apple";
    let Some(nobody) = nobody(topic) else { return };
    let answered = apple::with(async { Ok(Apple::connect(apns).await?.push(&nobody).await) });
    let answer = match answered {
        Err(failure) => return chain.broken(LINK, failure.message, failure.hint),
        Ok(answered) => answered.answer,
    };
    match answer {
        // 200 would be strange, and say the same.
        Ok((status, reason)) if (reason == "BadDeviceToken" || status == 200) && sinks::is_without(daemon, "apns") => {
            chain.broken(
                LINK,
                "it accepts the credential and the topic from here, and the daemon runs without [apns]",
                "the configuration has changed since the daemon started: `systemctl restart pushmaild`",
            );
        }
        Ok((status, reason)) if reason == "BadDeviceToken" || status == 200 => match sinks::trouble(daemon, "apns") {
            Some(trouble) => chain.broken(
                LINK,
                format!("it accepts the credential and the topic from here, and the daemon cannot push: {trouble}"),
                "the daemon runs as another user, perhaps in another network: can it read the credential and reach Apple?",
            ),
            None => chain.good(LINK, "reachable; it accepts the credential and the topic"),
        },
        Ok((status @ (403 | 400), reason)) => chain.broken(
            LINK,
            format!("it refuses the credential or its topic: {status} {reason}"),
            "the certificate or key was revoked, or is for another topic or environment; `pushmaild check` shows what it says of itself",
        ),
        Ok((status, reason)) => chain.warning(
            LINK,
            format!("it answers {status} {reason}, which says nothing about the credential"),
            "Apple has trouble of its own, or wants fewer questions; try again in some minutes",
        ),
        Err(error) => chain.broken(
            LINK,
            error,
            "is there a firewall or a proxy in between? Apple's port 2197 is there as well: `endpoint` under [apns]",
        ),
    }
}

/// A registration of nobody, to be pushed to in place of a phone.
fn nobody(topic: &str) -> Option<Registration> {
    let new = NewRegistration {
        key: Key {
            user: Username::new("nobody").ok()?,
            token: NOBODYS_TOKEN.parse().ok()?,
            account: NOBODYS_ACCOUNT.parse().ok()?,
        },
        subtopic: String::new(),
        topic: topic.parse().ok(),
        mailboxes: Vec::new(),
        acknowledged: Vec::new(),
        at: Timestamp::now(),
    };
    Some(new.into())
}
