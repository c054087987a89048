//! Users, devices, and what proves who we are.

use std::sync::{Arc, OnceLock};

use pushmaild::mailbox::Username;
use pushmaild::registry::{Key, Registration, State, Timestamp};
use pushmaild::sink::apns::credential::Credential;

use crate::credentials::forge::Forge;
pub(super) use crate::credentials::forge::TOPIC;

/// The certificate, and the provider tokens, made once.
fn credentials() -> &'static [Arc<Credential>; 2] {
    static MADE: OnceLock<[Arc<Credential>; 2]> = OnceLock::new();
    MADE.get_or_init(|| {
        let forge = Forge::new();
        forge.sh("cat ec.key ec.pem > both.pem");
        let token = Credential::load(&forge.token_file("ec.key")).unwrap();
        [Arc::new(forge.load("both.pem")), Arc::new(token)]
    })
}

pub(super) fn certificate() -> Arc<Credential> {
    Arc::clone(&credentials()[0])
}

pub(super) fn provider_tokens() -> Arc<Credential> {
    Arc::clone(&credentials()[1])
}

pub(super) fn user(number: u64) -> Username {
    Username::new(&format!("user{number}@example.org")).unwrap()
}

/// The number of a user.
pub(super) fn number(user: &Username) -> u64 {
    let local = user.as_str().split('@').next().unwrap();
    local.trim_start_matches("user").parse().unwrap()
}

/// The one device of each user.
pub(super) fn key(number: u64) -> Key {
    Key {
        user: user(number),
        // No device has the token of zeros.
        token: format!("{:064x}", number + 1).parse().unwrap(),
        account: format!("0715A26B-CA09-4730-A419-{number:012}").parse().unwrap(),
    }
}

pub(super) fn registration(number: u64) -> Registration {
    Registration {
        key: key(number),
        subtopic: "com.apple.mobilemail".to_owned(),
        topic: Some(TOPIC.parse().unwrap()),
        mailboxes: vec!["INBOX".to_owned()],
        acknowledged: Vec::new(),
        first_registered: Timestamp(0),
        last_registered: Timestamp(0),
        last_push: None,
        last_answer: None,
        bad_answers: 0,
        state: State::Active,
    }
}
