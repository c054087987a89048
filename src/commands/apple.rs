//! One connection to Apple for a command, and pushes over it with their answers.

use std::time::{Duration, Instant, SystemTime};

use tokio::{task::JoinHandle, time::timeout};

use crate::{
    classifier::Kind,
    config::Apns,
    registry::Registration,
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

/// Why nothing can be pushed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) hint: String,
}

impl Failure {
    pub(super) fn new(message: impl ToString, hint: impl ToString) -> Self {
        Self { message: message.to_string(), hint: hint.to_string() }
    }
}

/// What became of a push.
#[derive(Debug)]
pub(super) struct Answered {
    /// The topic that it was for.
    pub(super) topic: Option<String>,
    /// Its id, if it was sent.
    pub(super) apns_id: Option<String>,
    /// Status and reason, or why there are none.
    pub(super) answer: Result<(u16, String), String>,
}

/// A connection.
pub(super) struct Apple {
    settings: Settings<TlsDial>,
    connection: Connection,
    driver: JoinHandle<()>,
}

impl Drop for Apple {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Does something with Apple.
pub(super) fn with<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(error, "see the error above"))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

impl Apple {
    /// Connects, with the credential of the configuration.
    pub(super) async fn connect(apns: &Apns) -> Result<Self, Failure> {
        let (settings, _) = settings::settings(apns);
        let (dial, credential) = settings.link.as_ref().map_err(|reason| {
            Failure::new(format_args!("no push can go to Apple: {reason}"), "see `pushmaild check`")
        })?;
        let io = dial.dial().await.map_err(|error| Failure::new(&error, error.hint()))?;
        let opened = Connection::open(io, 1, credential.tokens().is_some()).await;
        let (connection, driver) = opened.map_err(|end| Failure::new(end.text, "see `pushmaild check`"))?;
        let driver = tokio::spawn(async move {
            driver.await;
        });
        Ok(Self { settings, connection, driver })
    }

    /// One push to a device.
    pub(super) async fn push(&self, device: &Registration) -> Answered {
        let changed = Changed {
            inbox: true,
            others: device.acknowledged.clone(),
            kind: Kind::NewMail,
            since: Instant::now(),
            events: 1,
        };
        let Settings { link, priorities, authority, .. } = &self.settings;
        let topic = device.topic.as_ref().map(ToString::to_string).or_else(|| self.settings.topic.clone());
        let (Some(name), Some(push)) = (&topic, Push::new(device, &changed)) else {
            let answer = Err("no topic is known: set `topic` under [apns]".to_owned());
            return Answered { topic, apns_id: None, answer };
        };
        let (id, now) = (push::new_id(), SystemTime::now());
        let authorization = link.as_ref().ok().and_then(|(_, credential)| credential.authorization(now));
        let answer = match push::request(&push, name, *priorities, authority, authorization, &id, now) {
            Err(error) => Err(error.to_string()),
            Ok((request, body)) => match timeout(ANSWER, self.connection.exchange(request, body)).await {
                Err(_) => Err(format!("no answer within {ANSWER:?}")),
                Ok(Err(error)) => Err(error.to_string()),
                Ok(Ok(reply)) => Ok((reply.status, reason(&reply.body))),
            },
        };
        Answered { topic, apns_id: Some(id), answer }
    }
}
