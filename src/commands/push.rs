//! `pushmaild push USER`: one push to each of the user's devices now, through Apple, with what Apple answers.

use std::{collections::HashSet, path::Path};

use serde::Serialize;

use super::{
    apple::{self, Apple, Failure},
    load, output,
};
use crate::{
    config::{Apns, Config},
    exit_code::Exit,
    mailbox::Username,
    registry::{Registration, Store, StoreError, sqlite::SqliteStore},
};

/// What became of one device.
#[derive(Debug, Serialize)]
struct Answered {
    user: String,
    device: String,
    account_id: String,
    topic: Option<String>,
    accepted: bool,
    answer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    apns_id: Option<String>,
}

pub(super) fn run(config: &Path, user: &str, json: bool) -> Exit {
    let config = match load(config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let Some(apns) = &config.apns else {
        return output::failure(
            Exit::BadConfig,
            format_args!("{}: there is no table [apns]", config.path.display()),
            "`pushmaild send` pushes through the push_notify socket",
        );
    };
    match devices(&config, user).and_then(|devices| push_all(apns, &devices)) {
        Ok(answered) => {
            let exit = if answered.iter().all(|it| it.accepted) { Exit::Good } else { Exit::Failed };
            if json {
                return output::json(exit, &answered);
            }
            output::write(exit, |out| {
                for Answered { user, device, topic, answer, .. } in &answered {
                    writeln!(
                        out,
                        "{user}: device {device}, topic {}: {answer}",
                        topic.as_deref().unwrap_or("none")
                    )?;
                }
                Ok(())
            })
        }
        Err(Failure { message, hint }) => output::failure(Exit::Failed, message, hint),
    }
}

/// The devices of all names of the user's mailbox.
fn devices(config: &Config, user: &str) -> Result<Vec<Registration>, Failure> {
    let user = Username::new(user)
        .map_err(|error| error.to_string())
        .and_then(|user| config.mailboxes.username_format.apply(&user).map_err(|error| error.to_string()))
        .map_err(|error| Failure::new(error, "name one of the users of `pushmaild users`"))?;
    let mut names = vec![user.clone()];
    // A map that cannot be read has no say: the devices are in the registry.
    if let Ok(listing) = config.mailboxes.read() {
        let own = listing.mailboxes.by_name(user.as_str());
        names.extend(own.into_iter().flat_map(|id| listing.mailboxes.usernames(id)));
        names.dedup();
    }
    let failed = |error: StoreError| Failure::new(&error, error.hint());
    let Some(registry) = &config.registry else { return Ok(Vec::new()) };
    let mut store = SqliteStore::open_read_only(&registry.database).map_err(failed)?;
    let mut seen = HashSet::new();
    let mut devices = Vec::new();
    for name in names {
        for device in store.of_user(&name).map_err(failed)? {
            if seen.insert((device.key.token.clone(), device.key.account.clone())) {
                devices.push(device);
            }
        }
    }
    if devices.is_empty() {
        return Err(Failure::new(
            format_args!("`{user}` has no registered device"),
            "a phone registers when its Mail connects to a server with the plugin; `pushmaild devices list` shows who has",
        ));
    }
    Ok(devices)
}

fn push_all(apns: &Apns, devices: &[Registration]) -> Result<Vec<Answered>, Failure> {
    apple::with(async {
        let apple = Apple::connect(apns).await?;
        let mut answered = Vec::new();
        for device in devices {
            let apple::Answered { topic, apns_id, answer } = apple.push(device).await;
            answered.push(Answered {
                user: device.key.user.to_string(),
                device: device.key.token.to_string(),
                account_id: device.key.account.to_string(),
                topic,
                accepted: matches!(answer, Ok((200, _))),
                answer: match answer {
                    Ok((200, _)) => "200, accepted".to_owned(),
                    Ok((status, reason)) => format!("{status} {reason}"),
                    Err(error) => error,
                },
                apns_id,
            });
        }
        Ok(answered)
    })
}
