//! What an answer of Apple's means. The status counts first and the reason second, and a reason that nobody knows yet is no error of
//! ours. Pure. Source: "Handling notification responses from APNs".

use std::time::Duration;

use serde::Deserialize;

use crate::registry::{Timestamp, life::Answer};

/// A Retry-After is honoured up to here. Apple documents none; a server that says "a year" is not believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What is to be done about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The push is out.
    Accepted,
    /// It says something about the registration, and the push is done with.
    Registration(Answer),
    /// This device gets too many: it waits, at least for so long.
    Throttled(Option<Duration>),
    /// Apple has trouble: the push waits, at least for so long.
    Unavailable(Option<Duration>),
    /// The provider token is too old: a new one, and the push again.
    ProviderToken,
    /// The credential or its topic is not accepted: nothing more is sent until somebody has seen to it.
    Credential(String),
    /// Something that we should not have sent. The push is dropped, for it would be refused again.
    OurBug(String),
}

/// The body of an answer that is not 200.
#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    reason: String,
    /// When a token died, in milliseconds since 1970.
    timestamp: Option<i64>,
}

/// Judges an answer. `now` stands in for the time of a 410 that has none.
#[must_use]
pub fn judge(status: u16, body: &[u8], retry_after: Option<Duration>, now: Timestamp) -> Verdict {
    let Body { reason, timestamp } = parse(body);
    let text = || format!("{status} {reason}").trim_end().to_owned();
    let retry_after = retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER));
    match (status, reason.as_str()) {
        (200, _) => Verdict::Accepted,
        (410, _) => {
            let since = timestamp.map_or(now, Timestamp);
            let reason = if reason.is_empty() { "Unregistered".to_owned() } else { reason };
            Verdict::Registration(Answer::Gone { since, reason })
        }
        (400, "BadDeviceToken") => Verdict::Registration(Answer::BadToken),
        (400, "DeviceTokenNotForTopic") => Verdict::Registration(Answer::NotForTopic),
        (400, "TopicDisallowed") => Verdict::Credential(text()),
        // The connection was idle for too long, and the push was not looked at.
        (400, "IdleTimeout") => Verdict::Unavailable(retry_after),
        (403, "ExpiredProviderToken") => Verdict::ProviderToken,
        (403, _) => Verdict::Credential(text()),
        (429, "TooManyProviderTokenUpdates") => Verdict::Unavailable(retry_after),
        (429, _) => Verdict::Throttled(retry_after),
        (500.., _) => Verdict::Unavailable(retry_after),
        _ => Verdict::OurBug(text()),
    }
}

/// The reason that an answer gives, safe to print; empty if it gives none.
#[must_use]
pub fn reason(body: &[u8]) -> String {
    parse(body).reason
}

fn parse(body: &[u8]) -> Body {
    let mut body: Body = serde_json::from_slice(body).unwrap_or_default();
    body.reason = body.reason.chars().filter(char::is_ascii_graphic).take(80).collect();
    body
}

/// The reason in the debug data of a GOAWAY, if it says that the credential is at fault.
#[must_use]
pub fn goaway_blames_credential(text: &str) -> Option<&'static str> {
    ["BadCertificateEnvironment", "BadCertificate", "InvalidProviderToken", "BadEnvironmentKeyIdInToken"]
        .into_iter()
        .find(|reason| text.contains(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_and_reason_of_the_documents() {
        let now = Timestamp(5);
        let gone = |since, reason: &str| {
            Verdict::Registration(Answer::Gone { since: Timestamp(since), reason: reason.to_owned() })
        };
        let credential = |text: &str| Verdict::Credential(text.to_owned());
        let bug = |text: &str| Verdict::OurBug(text.to_owned());
        let table = [
            (200, "", Verdict::Accepted),
            (400, "BadCollapseId", bug("400 BadCollapseId")),
            (400, "BadDeviceToken", Verdict::Registration(Answer::BadToken)),
            (400, "BadTopic", bug("400 BadTopic")),
            (400, "DeviceTokenNotForTopic", Verdict::Registration(Answer::NotForTopic)),
            (400, "IdleTimeout", Verdict::Unavailable(None)),
            (400, "PayloadEmpty", bug("400 PayloadEmpty")),
            (400, "TopicDisallowed", credential("400 TopicDisallowed")),
            (400, "SomethingNew", bug("400 SomethingNew")),
            (403, "BadCertificate", credential("403 BadCertificate")),
            (403, "BadCertificateEnvironment", credential("403 BadCertificateEnvironment")),
            (403, "ExpiredProviderToken", Verdict::ProviderToken),
            (403, "InvalidProviderToken", credential("403 InvalidProviderToken")),
            (403, "UnrelatedKeyIdInToken", credential("403 UnrelatedKeyIdInToken")),
            (403, "SomethingNew", credential("403 SomethingNew")),
            (404, "BadPath", bug("404 BadPath")),
            (405, "MethodNotAllowed", bug("405 MethodNotAllowed")),
            (413, "PayloadTooLarge", bug("413 PayloadTooLarge")),
            (429, "TooManyRequests", Verdict::Throttled(None)),
            (429, "TooManyProviderTokenUpdates", Verdict::Unavailable(None)),
            (500, "InternalServerError", Verdict::Unavailable(None)),
            (503, "Shutdown", Verdict::Unavailable(None)),
            (599, "", Verdict::Unavailable(None)),
            (410, "", gone(5, "Unregistered")),
        ];
        for (status, reason, verdict) in table {
            let body = if reason.is_empty() { String::new() } else { format!(r#"{{"reason":"{reason}"}}"#) };
            assert_eq!(judge(status, body.as_bytes(), None, now), verdict, "{status} {reason}");
        }
        for reason in ["Unregistered", "ExpiredToken"] {
            let body = format!(r#"{{"reason":"{reason}","timestamp":1700000000000}}"#);
            assert_eq!(judge(410, body.as_bytes(), None, now), gone(1_700_000_000_000, reason));
        }
    }

    #[test]
    fn a_retry_after_is_believed_up_to_an_hour() {
        let verdict = |seconds| judge(503, b"", Some(Duration::from_secs(seconds)), Timestamp(0));
        assert_eq!(verdict(30), Verdict::Unavailable(Some(Duration::from_secs(30))));
        assert_eq!(verdict(1 << 40), Verdict::Unavailable(Some(LONGEST_RETRY_AFTER)));
    }

    #[test]
    fn a_body_of_nonsense_is_no_body() {
        for body in [&b"\xff\xff"[..], b"{", b"[]", br#"{"reason":5}"#] {
            assert_eq!(judge(503, body, None, Timestamp(0)), Verdict::Unavailable(None));
        }
        let body = br#"{"reason":"a\u0000\nb"}"#;
        assert_eq!(judge(400, body, None, Timestamp(0)), Verdict::OurBug("400 ab".to_owned()));
    }
}
