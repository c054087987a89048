//! The commands that order faults and ask for counts: words from the socket to types, and types to deeds.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    faults::{Ending, Faults, Ordered, gone, throttled},
    listener::Port,
    server::{Order, Server},
};

/// What there is, for those who ask for something else. `every N` counts the requests of each connection, and
/// `off` ends it.
const COMMANDS: [&str; 24] = [
    "goaway every N [REASON]",
    "goaway off",
    "goaway now [REASON]",
    "drop every N",
    "drop off",
    "drop now",
    "refuse-streams every N",
    "refuse-streams off",
    "slow MILLISECONDS",
    "freeze",
    "thaw",
    "refuse-connections",
    "accept-connections",
    "accept-then-close",
    "answer STATUS REASON [count N]",
    "unregistered TOKEN TIMESTAMP-MS",
    "expired-token TOKEN TIMESTAMP-MS",
    "bad-token TOKEN",
    "not-for-topic TOKEN",
    "throttle TOKEN [retry-after SECONDS]",
    "good-token TOKEN",
    "streams N",
    "clear",
    "stats | received | wait REQUESTS",
];

/// What GOAWAY says unless ordered otherwise.
const SHUTDOWN: &str = "Shutdown";

/// Does what a line says, and returns what to answer.
pub(crate) async fn obey(line: &str, server: &Server, port: &Port) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    match execute(&words, server, port).await {
        Ok(answer) => answer,
        Err(error) => json!({ "ok": false, "error": error, "commands": COMMANDS }),
    }
}

async fn execute(words: &[&str], server: &Server, port: &Port) -> Result<Value, String> {
    let done = Ok(json!({ "ok": true }));
    match words {
        ["stats"] => {
            let counts = server.journal.counts();
            return serde_json::to_value(&*counts).map_err(|error| error.to_string());
        }
        ["received"] => return Ok(json!({ "received": server.journal.counts().requests })),
        ["wait", requests] => {
            return Ok(json!({ "received": server.journal.wait_for(number(requests)?).await }));
        }
        ["goaway", "now", rest @ ..] => return order(server, Order::GoAway(reason(rest)?)),
        ["drop", "now"] => return order(server, Order::Drop),
        ["freeze"] => drop(server.frozen.send_replace(true)),
        ["thaw"] => drop(server.frozen.send_replace(false)),
        ["refuse-connections"] => set_open(port, false).await?,
        ["accept-connections"] => {
            server.faults().accept_then_close = false;
            set_open(port, true).await?;
        }
        ["clear"] => {
            *server.faults() = Faults::default();
            server.frozen.send_replace(false);
            set_open(port, true).await?;
        }
        _ => set(&mut server.faults(), words)?,
    }
    done
}

/// The faults that are no more than something to remember.
fn set(faults: &mut Faults, words: &[&str]) -> Result<(), String> {
    match words {
        ["goaway", "every", n, rest @ ..] => {
            faults.goaway = Some(Ending { every: positive(n)?, reason: reason(rest)? });
        }
        ["goaway", "off"] => faults.goaway = None,
        ["drop", "every", n] => faults.drop_every = Some(positive(n)?),
        ["drop", "off"] => faults.drop_every = None,
        ["refuse-streams", "every", n] => faults.refuse_streams_every = Some(positive(n)?),
        ["refuse-streams", "off"] => faults.refuse_streams_every = None,
        ["slow", milliseconds] => faults.slow = Duration::from_millis(number(milliseconds)?),
        ["accept-then-close"] => faults.accept_then_close = true,
        ["streams", n] => faults.streams = Some(u32::try_from(positive(n)?).map_err(|_| "too many streams")?),
        ["answer", status, reason] => faults.answer = Some(ordered(status, reason, None)?),
        ["answer", status, reason, "count", n] => {
            faults.answer = Some(ordered(status, reason, Some(positive(n)?))?);
        }
        ["unregistered", token, time] => faults.devices.list(token, gone("Unregistered", number(time)?)),
        ["expired-token", token, time] => faults.devices.list(token, gone("ExpiredToken", number(time)?)),
        ["bad-token", token] => faults.devices.list(token, Answer::bad("BadDeviceToken")),
        ["not-for-topic", token] => faults.devices.list(token, Answer::bad("DeviceTokenNotForTopic")),
        ["throttle", token] => faults.devices.list(token, throttled(None)),
        ["throttle", token, "retry-after", seconds] => {
            faults.devices.list(token, throttled(Some(number(seconds)?)));
        }
        ["good-token", token] => {
            if !faults.devices.forget(token) {
                return Err("this token is good".to_owned());
            }
        }
        _ => return Err(format!("unknown command: `{}`", words.join(" "))),
    }
    Ok(())
}

/// Tells all connections that are open, and answers how many they are.
fn order(server: &Server, order: Order) -> Result<Value, String> {
    // An error: there is none.
    let connections = server.orders.send(order).unwrap_or(0);
    Ok(json!({ "ok": true, "connections": connections }))
}

async fn set_open(port: &Port, open: bool) -> Result<(), String> {
    port.set_open(open).await.map_err(|error| format!("cannot listen on {}: {error}", port.address()))
}

fn ordered(status: &str, reason: &str, left: Option<u64>) -> Result<Ordered, String> {
    let status = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.filter(|status| status.is_client_error() || status.is_server_error());
    let status = status.ok_or("the status has to be from 400 to 599")?;
    Ok(Ordered { answer: Answer::new(status, reason.to_owned()), left })
}

fn reason(words: &[&str]) -> Result<String, String> {
    match words {
        [] => Ok(SHUTDOWN.to_owned()),
        [reason] => Ok((*reason).to_owned()),
        _ => Err("a reason is one word".to_owned()),
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("not a number: `{word}`"))
}

fn positive(word: &str) -> Result<u64, String> {
    number(word).and_then(|n| if n > 0 { Ok(n) } else { Err("has to be at least 1".to_owned()) })
}
