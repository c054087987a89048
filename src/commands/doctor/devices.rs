//! The registered devices, their topics, and what Apple last said of them.

use super::{chain::Chain, mailbox::Mailbox};
use crate::{
    config::Config,
    count::count,
    registry::{Registration, State, Store, StoreError, sqlite::SqliteStore},
};

const LINK: &str = "devices";

pub(super) fn test(chain: &mut Chain, config: &Config, mailbox: &Mailbox, topic: Option<&str>) {
    let Some(registry) = config.kept_registry() else {
        return chain.broken(LINK, "there is no registry", crate::config::NO_RECORDS);
    };
    if !registry.database.exists() {
        return chain.broken(
            LINK,
            format!("no device has ever registered: there is no `{}`", registry.database.display()),
            "the daemon makes it at its first start; is [registry] the one that the daemon uses?",
        );
    }
    let tested = SqliteStore::open_read_only(&registry.database).and_then(|mut store| match &mailbox.user {
        None => of_all(chain, &mut store),
        Some(user) => {
            let is_only_sink = config.push_notify.is_none() && config.exec.is_none();
            of_user(chain, &mut store, mailbox, (user.as_str(), is_only_sink), topic)
        }
    });
    if let Err(error) = tested {
        chain.broken(LINK, format!("the registry cannot be read: {error}"), error.hint());
    }
}

fn of_all(chain: &mut Chain, store: &mut SqliteStore) -> Result<(), StoreError> {
    let counts = store.counts()?;
    let suspended = match counts.suspended {
        0 => String::new(),
        suspended => format!(", {suspended} of them suspended until they come back"),
    };
    let devices = usize::try_from(counts.devices).unwrap_or(usize::MAX);
    let text = format!("{}{suspended}", count(devices, "registration", "registrations"));
    match devices {
        0 => chain.warning(
            LINK,
            text,
            "a phone registers when its Mail connects to a Dovecot with the plugin; see [listen]",
        ),
        _ => chain.good(LINK, text),
    }
    Ok(())
}

fn of_user(
    chain: &mut Chain,
    store: &mut SqliteStore,
    mailbox: &Mailbox,
    (user, is_only_sink): (&str, bool),
    topic: Option<&str>,
) -> Result<(), StoreError> {
    let (mut devices, mut opted_out) = (Vec::new(), None);
    for name in &mailbox.names {
        if store.is_opted_out(name)? {
            opted_out = Some(name);
        } else {
            devices.extend(store.of_user(name)?);
        }
    }
    if devices.is_empty() {
        let (message, hint) = match opted_out {
            Some(name) => (
                format!("`{name}` wants no pushes"),
                format!("`pushmaild devices opt-in {name}` takes the devices again"),
            ),
            None => (
                format!("`{user}` has no registered device"),
                "a phone registers when its Mail connects: open Mail there, and see that Dovecot has the plugin and Fetch New Data is on Push"
                    .to_owned(),
            ),
        };
        // Whoever has no phone may be somebody whom the other sink is for.
        match is_only_sink {
            true => chain.broken(LINK, message, hint),
            false => chain.warning(LINK, message, hint),
        }
        return Ok(());
    }
    let (live, suspended): (Vec<&Registration>, Vec<_>) =
        devices.iter().partition(|device| device.state.is_live());
    if let (true, Some(State::Suspended { reason })) =
        (live.is_empty(), suspended.first().map(|device| &device.state))
    {
        chain.broken(
            LINK,
            format!("{}, all suspended: Apple said {reason}", count(devices.len(), "device", "devices")),
            "they are pushed to again when they register again: turn the account's Mail off and on on the phone",
        );
        return Ok(());
    }
    let other_topic = live
        .iter()
        .filter_map(|device| device.topic.as_ref())
        .find(|own| topic.is_some_and(|topic| own.as_str() != topic));
    let all_other = live.iter().all(|device| {
        device.topic.as_ref().is_some_and(|own| topic.is_some_and(|topic| own.as_str() != topic))
    });
    if let Some(other) = other_topic.filter(|_| all_other) {
        chain.broken(
            LINK,
            format!("the phone was told the topic `{other}`, and the credential is for `{}`", topic.unwrap_or("none")),
            "it is pushed to when it has come back and was told the new topic: at most a day after it is used, or turn the account off and on",
        );
        return Ok(());
    }
    tell(chain, &live, suspended.len());
    Ok(())
}

/// The devices are there; what did Apple last say of them?
fn tell(chain: &mut Chain, live: &[&Registration], suspended: usize) {
    let suspended = if suspended > 0 { format!(", {suspended} more suspended") } else { String::new() };
    let last = live.iter().filter_map(|device| Some((device.last_push?, *device))).max_by_key(|(at, _)| *at);
    let said = last.map_or_else(
        || "none was pushed to yet".to_owned(),
        |(at, device)| {
            let answer = device.last_answer.as_deref().unwrap_or("200");
            format!("{} pushed at {at}, and Apple said {answer}", device.key.token)
        },
    );
    let text = format!("{}{suspended}; {said}", count(live.len(), "device", "devices"));
    let is_bad = last
        .is_some_and(|(_, device)| device.last_answer.as_deref().is_some_and(|it| !it.starts_with("200")));
    if is_bad {
        chain.warning(LINK, text, "Apple did not take the last push: see the answer");
    } else {
        chain.good(LINK, text);
    }
}
