//! `pushmaild push USER`: one push to each of the user's devices now, through Apple, with what Apple answers.

use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;
use tokio::time::timeout;

use super::{load, output};
use crate::{
    classifier::Kind,
    config::{Apns, Config},
    exit_code::Exit,
    mailbox::Username,
    registry::{Registration, Store, StoreError, sqlite::SqliteStore},
    sink::apns::{
        answer::reason,
        connection::Connection,
        dial::{Dial, TlsDial},
        push::{self, Changed, Push},
        pusher::Settings,
        settings,
    },
};

/// How long Apple may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);

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

/// Why nothing can be pushed.
struct Failure {
    message: String,
    hint: String,
}

impl Failure {
    fn new(message: impl ToString, hint: impl ToString) -> Self {
        Self { message: message.to_string(), hint: hint.to_string() }
    }
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
    let (settings, _) = settings::settings(apns);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(error, "see the error above"))?;
    let answered = runtime.block_on(async {
        let (dial, credential) = settings.link.as_ref().map_err(|reason| {
            Failure::new(format_args!("no push can go to Apple: {reason}"), "see `pushmaild check`")
        })?;
        let io = dial.dial().await.map_err(|error| Failure::new(&error, error.hint()))?;
        let opened = Connection::open(io, 1, credential.tokens().is_some()).await;
        let (connection, driver) = opened.map_err(|end| Failure::new(end.text, "see `pushmaild check`"))?;
        let driver = tokio::spawn(driver);
        let mut answered = Vec::new();
        for device in devices {
            answered.push(push_one(&settings, &connection, device).await);
        }
        driver.abort();
        Ok(answered)
    });
    runtime.shutdown_background();
    answered
}

async fn push_one(settings: &Settings<TlsDial>, connection: &Connection, device: &Registration) -> Answered {
    let changed = Changed {
        inbox: true,
        others: device.acknowledged.clone(),
        kind: Kind::NewMail,
        since: Instant::now(),
    };
    let topic = device.topic.as_ref().map(ToString::to_string).or_else(|| settings.topic.clone());
    let mut answered = Answered {
        user: device.key.user.to_string(),
        device: device.key.token.to_string(),
        account_id: device.key.account.to_string(),
        topic: topic.clone(),
        accepted: false,
        answer: String::new(),
        apns_id: None,
    };
    let (Some(topic), Some(push)) = (topic, Push::new(device, &changed)) else {
        "no topic is known: set `topic` under [apns]".clone_into(&mut answered.answer);
        return answered;
    };
    let id = push::new_id();
    let now = SystemTime::now();
    let authorization = settings.link.as_ref().ok().and_then(|(_, credential)| credential.authorization(now));
    let request =
        push::request(&push, &topic, settings.priorities, &settings.authority, authorization, &id, now);
    answered.apns_id = Some(id);
    match request {
        Err(error) => answered.answer = error.to_string(),
        Ok((request, body)) => match timeout(ANSWER, connection.exchange(request, body)).await {
            Err(_) => answered.answer = format!("no answer within {ANSWER:?}"),
            Ok(Err(error)) => answered.answer = error.to_string(),
            Ok(Ok(reply)) => {
                answered.accepted = reply.status == 200;
                answered.answer = match reply.status {
                    200 => "200, accepted".to_owned(),
                    status => format!("{status} {}", reason(&reply.body)),
                };
            }
        },
    }
    answered
}
