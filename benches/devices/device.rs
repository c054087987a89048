//! Users and their phones, each known by a number.

use std::fmt::Write as _;

use pushmaild::{
    mailbox::Username,
    registry::{Key, NewRegistration, Registration, Timestamp},
};

use crate::Result;

pub(crate) const TOPIC: &str = "com.apple.mobilemail.push.example";

/// The name of a user.
pub(crate) fn user(number: u32) -> String {
    format!("user{number:07}@example.org")
}

/// The token of the user's phone, as digits: always the same for the same number, and in no order.
pub(crate) fn token(number: u32) -> String {
    let mut random = fastrand::Rng::with_seed(number.into());
    (0..4).fold(String::new(), |mut token, _| {
        let _ = write!(token, "{:016x}", random.u64(..));
        token
    })
}

/// The id of the account on the phone.
pub(crate) fn account(number: u32) -> String {
    let random = fastrand::Rng::with_seed(u64::from(number) << 32).u128(..);
    let hex = format!("{random:032X}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

pub(crate) fn username(number: u32) -> Result<Username> {
    Ok(Username::new(&user(number))?)
}

/// What the registry has of the phone after it has registered.
pub(crate) fn registration(number: u32) -> Result<Registration> {
    let new = NewRegistration {
        key: Key {
            user: username(number)?,
            token: token(number).parse()?,
            account: account(number).parse()?,
        },
        subtopic: "com.apple.mobilemail".to_owned(),
        topic: Some(TOPIC.parse()?),
        mailboxes: vec!["INBOX".to_owned(), "Notes".to_owned()],
        acknowledged: Vec::new(),
        at: Timestamp::now(),
    };
    Ok(new.into())
}

/// The line with which the phone registers through st3fan's plugin.
pub(crate) fn register_line(number: u32) -> String {
    let (account, token, user) = (account(number), token(number), user(number));
    format!(
        "REGISTER aps-account-id=\"{account}\"\taps-device-token=\"{token}\"\taps-subtopic=\"com.apple.mobilemail\"\t\
         dovecot-username=\"{user}\"\tdovecot-mailboxes=(\"INBOX\",\"Notes\")\r\n"
    )
}
