//! What a certificate of Apple's says about itself.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use der::{AnyRef, Decode, Reader, SliceReader, Tag, asn1::ObjectIdentifier};
use x509_cert::{Certificate, ext::Extension};

use super::Environment;

const USER_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1");
const SANDBOX: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.3.1");
const PRODUCTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.3.2");
const TOPICS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113635.100.6.3.6");

const DAY: u64 = 24 * 60 * 60;

/// From when to when a certificate may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last one.
    pub not_after: SystemTime,
}

impl Validity {
    /// Whole days until the end; none on the last day and later.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> u64 {
        self.not_after.duration_since(now).map_or(0, |left| left.as_secs() / DAY)
    }

    /// Why it may not be used now.
    #[must_use]
    pub fn problem_at(&self, now: SystemTime) -> Option<Problem> {
        // The certificate has whole seconds, and the last one belongs to it.
        if now >= self.not_after + Duration::from_secs(1) {
            Some(Problem::Expired(self.not_after))
        } else if now < self.not_before {
            Some(Problem::NotYetValid(self.not_before))
        } else {
            None
        }
    }
}

/// Why a certificate that was loaded is of no use at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Since then.
    Expired(SystemTime),
    /// Before then.
    NotYetValid(SystemTime),
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Expired(_) => {
                "make a new certificate for the same App ID at developer.apple.com, and put it in the place of this one"
            }
            Self::NotYetValid(_) => "check the clock of this machine",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(at) => {
                write!(f, "the certificate expired at {}", humantime::format_rfc3339_seconds(*at))
            }
            Self::NotYetValid(at) => {
                write!(f, "the certificate is not valid before {}", humantime::format_rfc3339_seconds(*at))
            }
        }
    }
}

/// The environments that a certificate is marked for: both for most, and neither if Apple did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Environments {
    /// Marked for production.
    pub production: bool,
    /// Marked for the sandbox.
    pub sandbox: bool,
}

impl Environments {
    /// Is this one marked?
    #[must_use]
    pub fn contains(self, environment: Environment) -> bool {
        match environment {
            Environment::Production => self.production,
            Environment::Sandbox => self.sandbox,
        }
    }
}

/// Read once, when the certificate is loaded.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) subject: String,
    pub(super) topic: Option<String>,
    /// The topic, and then what else the certificate lists; each once.
    pub(super) topics: Vec<String>,
    pub(super) environments: Environments,
    pub(super) validity: Validity,
}

impl Facts {
    pub(super) fn of(certificate: &Certificate) -> Self {
        let body = certificate.tbs_certificate();
        let extensions: &[Extension] = body.extensions().map_or(&[], |extensions| extensions);
        let extension = |id| extensions.iter().find(|extension| extension.extn_id == id);
        let topic = body
            .subject()
            .iter()
            .filter(|attribute| attribute.oid == USER_ID)
            .find_map(|attribute| topic(AnyRef::from(&attribute.value)));
        let listed =
            extension(TOPICS).map(|list| listed_topics(list.extn_value.as_bytes())).unwrap_or_default();
        let mut topics: Vec<String> = topic.iter().cloned().collect();
        for other in listed {
            if !topics.contains(&other) {
                topics.push(other);
            }
        }
        Self {
            subject: printable(&body.subject().to_string()),
            topic,
            topics,
            environments: Environments {
                production: extension(PRODUCTION).is_some(),
                sandbox: extension(SANDBOX).is_some(),
            },
            validity: Validity {
                not_before: body.validity().not_before.to_system_time(),
                not_after: body.validity().not_after.to_system_time(),
            },
        }
    }
}

/// The topics in the extension that lists them. Apple has not published its form; seen is one SEQUENCE in which each topic, a string, is
/// followed by a SEQUENCE of the kinds of push that it is for. Each pair in a SEQUENCE of its own is understood too, and
/// whatever is neither is passed over.
fn listed_topics(der: &[u8]) -> Vec<String> {
    let Ok(list) = AnyRef::from_der(der) else { return Vec::new() };
    elements(list)
        .into_iter()
        .filter_map(|element| match elements(element).as_slice() {
            [first, kinds, ..] if kinds.header().tag() == Tag::Sequence => topic(*first),
            // A string, or the kinds of the one before, which are a SEQUENCE and so no string.
            _ => topic(element),
        })
        .collect()
}

fn elements(sequence: AnyRef<'_>) -> Vec<AnyRef<'_>> {
    let mut found = Vec::new();
    if sequence.header().tag() == Tag::Sequence
        && let Ok(mut reader) = SliceReader::new(sequence.value())
    {
        while let Ok(element) = reader.decode() {
            found.push(element);
        }
    }
    found
}

/// A topic: what can stand in a header, for there it has to go.
fn topic(value: AnyRef<'_>) -> Option<String> {
    let is_string = matches!(
        value.header().tag(),
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString | Tag::VisibleString
    );
    let text = std::str::from_utf8(value.value()).ok()?;
    (is_string && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
        .then(|| text.to_owned())
}

/// For a log and a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(value.len()).unwrap()], value].concat()
    }

    fn string(text: &str) -> Vec<u8> {
        tlv(0x0c, text.as_bytes())
    }

    fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
        tlv(0x30, &parts.concat())
    }

    #[test]
    fn topics_are_listed_in_pairs_or_flat() {
        let app = sequence(&[string("app")]);
        let voip = sequence(&[string("voip"), string("complication")]);
        let flat = sequence(&[string("org.a"), app.clone(), string("org.a.voip"), voip.clone()]);
        let pairs = sequence(&[sequence(&[string("org.a"), app]), sequence(&[string("org.a.voip"), voip])]);
        for list in [flat, pairs] {
            assert_eq!(listed_topics(&list), ["org.a", "org.a.voip"]);
        }
    }

    #[test]
    fn what_is_no_list_of_topics_is_passed_over() {
        let odd = [
            vec![],
            vec![0x30],
            vec![0x05, 0x00],
            string("org.a"),
            sequence(&[]),
            sequence(&[string("with blank"), string(""), tlv(0x02, &[1]), tlv(0x0c, &[0xff])]),
            sequence(&[sequence(&[sequence(&[string("deep")])])]),
        ];
        for list in odd {
            assert_eq!(listed_topics(&list), [""; 0], "{list:?}");
        }
        let mut cut = sequence(&[string("org.a"), string("org.b")]);
        cut[10] = 0x7f;
        assert_eq!(listed_topics(&cut), ["org.a"], "the rest is damaged");
    }

    #[test]
    fn the_last_second_is_part_of_the_validity() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_millis(seconds);
        let validity = Validity { not_before: at(5_000), not_after: at(10_000) };
        assert_eq!(validity.problem_at(at(4_999)), Some(Problem::NotYetValid(at(5_000))));
        assert_eq!(validity.problem_at(at(5_000)), None);
        assert_eq!(validity.problem_at(at(10_999)), None);
        let expired = validity.problem_at(at(11_000)).unwrap();
        assert_eq!(expired.to_string(), "the certificate expired at 1970-01-01T00:00:10Z");
    }

    #[test]
    fn days_left_are_whole_days() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * DAY);
        let validity = Validity { not_before: SystemTime::UNIX_EPOCH, not_after: end };
        assert_eq!(validity.days_left(end - Duration::from_secs(30 * DAY)), 30);
        assert_eq!(validity.days_left(end - Duration::from_secs(30 * DAY - 1)), 29);
        assert_eq!(validity.days_left(end), 0);
        assert_eq!(validity.days_left(end + Duration::from_secs(DAY)), 0);
    }
}
