//! Apple's rules for a request, without its credential. Pure.
//!
//! The order is that in which Apple's service seems to look: credential, path, the token's form, topic, what is
//! known of the device, other headers, payload. The topic comes before the device so that a push to the token of 64
//! zeros tells whether a credential is accepted for a topic.

use http::{HeaderMap, Method, StatusCode, request::Parts};

use crate::{answer::Answer, faults::Devices};

const PATH: &str = "/3/device";
const MAX_COLLAPSE_ID: usize = 64;
const MAX_PAYLOAD: usize = 4096;
/// Pushes of this kind may have more.
const VOIP: &str = "voip";
const MAX_VOIP_PAYLOAD: usize = 5120;
/// What to keep of a payload, to see that it is too large.
pub(crate) const ENOUGH_PAYLOAD: usize = MAX_VOIP_PAYLOAD + 1;

const PUSH_TYPES: [&str; 11] = [
    "alert",
    "background",
    "complication",
    "controls",
    "fileprovider",
    "liveactivity",
    "location",
    "mdm",
    "pushtotalk",
    VOIP,
    "widgets",
];
const PRIORITIES: [&str; 3] = ["10", "5", "1"];

/// The device's token, as the path has it.
pub(crate) fn token(path: &str) -> Option<&str> {
    path.strip_prefix(PATH)?.strip_prefix('/')
}

/// Judges all but the credential and the payload. `topics` are those that the credential is good for.
pub(crate) fn judge(
    parts: &Parts,
    topics: &[String],
    one_topic: bool,
    devices: &Devices,
) -> Result<(), Answer> {
    let token = path(parts)?;
    form(token)?;
    topic(&parts.headers, topics, one_topic)?;
    devices.judge(token)?;
    headers(&parts.headers)
}

fn path(parts: &Parts) -> Result<&str, Answer> {
    let path = parts.uri.path();
    let token = match token(path) {
        Some(token) if !token.contains('/') => token,
        None if path == PATH => "",
        _ => return Err(Answer::new(StatusCode::NOT_FOUND, "BadPath")),
    };
    if parts.method == Method::POST {
        Ok(token)
    } else {
        Err(Answer::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"))
    }
}

fn form(token: &str) -> Result<(), Answer> {
    if token.is_empty() {
        return Err(Answer::bad("MissingDeviceToken"));
    }
    let hex = token.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex && token.len().is_multiple_of(2) { Ok(()) } else { Err(Answer::bad("BadDeviceToken")) }
}

fn topic(headers: &HeaderMap, topics: &[String], one_topic: bool) -> Result<(), Answer> {
    let Some(topic) = headers.get("apns-topic") else {
        // Only a certificate with one topic says which is meant.
        return if one_topic { Ok(()) } else { Err(Answer::bad("MissingTopic")) };
    };
    let topic = topic.as_bytes();
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    if topic.is_empty() || !topic.iter().all(in_name) {
        return Err(Answer::bad("BadTopic"));
    }
    let allowed = topics.iter().any(|allowed| allowed.as_bytes() == topic);
    if allowed { Ok(()) } else { Err(Answer::bad("TopicDisallowed")) }
}

fn headers(headers: &HeaderMap) -> Result<(), Answer> {
    let ours = |name: &str| name.starts_with("apns-") || name == "authorization";
    if headers.len() != headers.keys_len()
        && headers.keys().any(|name| ours(name.as_str()) && headers.get_all(name).iter().nth(1).is_some())
    {
        return Err(Answer::bad("DuplicateHeaders"));
    }
    let check = |name, reason, good: fn(&[u8]) -> bool| match headers.get(name) {
        Some(value) if !good(value.as_bytes()) => Err(Answer::bad(reason)),
        _ => Ok(()),
    };
    check("apns-id", "BadMessageId", is_uuid)?;
    check("apns-expiration", "BadExpirationDate", is_seconds)?;
    check("apns-priority", "BadPriority", |value| PRIORITIES.iter().any(|known| known.as_bytes() == value))?;
    check("apns-push-type", "InvalidPushType", |value| {
        PUSH_TYPES.iter().any(|known| known.as_bytes() == value)
    })?;
    check("apns-collapse-id", "BadCollapseId", |value| value.len() <= MAX_COLLAPSE_ID)
}

/// Judges the payload by its size.
pub(crate) fn judge_payload(length: usize, headers: &HeaderMap) -> Result<(), Answer> {
    let voip = headers.get("apns-push-type").is_some_and(|kind| kind == VOIP);
    let most = if voip { MAX_VOIP_PAYLOAD } else { MAX_PAYLOAD };
    match length {
        0 => Err(Answer::bad("PayloadEmpty")),
        length if length > most => Err(Answer::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge")),
        _ => Ok(()),
    }
}

/// `123e4567-e89b-12d3-a456-4266554400a0`, in either case.
pub(crate) fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Seconds since 1970 in UTC, or 0. Some senders write a negative number, which Apple refuses.
fn is_seconds(text: &[u8]) -> bool {
    let text = str::from_utf8(text).unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
}
