//! Is a credential good for the pushes of iOS Mail? The one judgement of it, which `check` and `doctor` only tell. Pure: the time is a
//! parameter.

use std::time::SystemTime;

use thiserror::Error;

use super::{
    credential::{Problem, Warning},
    settings::Loaded,
};
use crate::count::count;

/// From here on the end of a certificate is worth a word, in the log and wherever people look: days. The alert in
/// `packaging/prometheus/` has the same figure.
pub const ENDS_SOON: u64 = 30;
/// What the topics of iOS Mail begin with.
const MAIL_TOPICS: [&str; 2] = ["com.apple.mobilemail.", "com.apple.mail.XServer."];

/// Something about a credential that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Finding {
    /// It is not valid at this time.
    #[error("{0}")]
    Time(Problem),
    /// It is not for the environment that is configured.
    #[error("{0}")]
    Environment(String),
    /// Neither it nor the configuration names a topic.
    #[error("the certificate names no topic")]
    NoTopic,
    /// The configuration names a topic, and the certificate has only others.
    #[error("the certificate is not for the topic `{topic}`, but for {}", .own.join(", "))]
    OtherTopic {
        /// The configuration's.
        topic: String,
        /// The certificate's.
        own: Vec<String>,
    },
    /// In so many days, and so it works.
    #[error("the certificate ends in {}", count(*.0, "day", "days"))]
    EndsSoon(u64),
    /// Apple takes pushes on this topic, and no phone looks at its mail for them.
    #[error("the topic `{0}` is not one of Mail, and iPhones would not look at their mail for it")]
    NotOfMail(String),
    /// Something about its files.
    #[error("{0}")]
    Files(Warning),
}

impl Finding {
    /// Does no push go out because of it?
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        match self {
            Self::Time(_) | Self::Environment(_) | Self::NoTopic | Self::OtherTopic { .. } => true,
            Self::EndsSoon(_) | Self::NotOfMail(_) | Self::Files(_) => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Time(problem) => problem.hint(),
            Self::Environment(_) => "leave `environment` out, or get a certificate for the other one",
            Self::NoTopic => {
                "it must be one for `com.apple.mobilemail.push.…`, which has the topic as the user id of its subject; \
                 or set `topic` under [apns]"
            }
            Self::OtherTopic { .. } => "leave `topic` out: it is in the certificate",
            Self::EndsSoon(_) => "put the new one in its place: the daemon takes it up by itself",
            Self::NotOfMail(_) => {
                "topics of Mail begin with `com.apple.mobilemail.push.`, or with `com.apple.mail.XServer.` if they came from \
                 OS X Server"
            }
            Self::Files(warning) => return warning.hint(),
        }
        .to_owned()
    }
}

/// All that is to be said of a credential with the topic that pushes go to, what is fatal first.
#[must_use]
pub fn judge(loaded: &Loaded, topic: Option<&str>, now: SystemTime) -> Vec<Finding> {
    let Loaded { credential, mismatch, .. } = loaded;
    let own = credential.topics();
    let time = match credential.problem_at(now) {
        Some(problem) => Some(Finding::Time(problem)),
        None => credential.days_left(now).filter(|days| *days <= ENDS_SOON).map(Finding::EndsSoon),
    };
    let of_topic = match topic {
        None => Some(Finding::NoTopic),
        Some(topic) if !own.is_empty() && !own.iter().any(|own| own == topic) => {
            Some(Finding::OtherTopic { topic: topic.to_owned(), own: own.to_vec() })
        }
        Some(_) => None,
    };
    let of_mail = topic.filter(|topic| !MAIL_TOPICS.iter().any(|mail| topic.starts_with(mail)));
    let mut findings: Vec<_> = time
        .into_iter()
        .chain(mismatch.clone().map(Finding::Environment))
        .chain(of_topic)
        .chain(of_mail.map(|topic| Finding::NotOfMail(topic.to_owned())))
        .chain(credential.warnings().iter().cloned().map(Finding::Files))
        .collect();
    findings.sort_by_key(|finding| !finding.is_fatal());
    findings
}
