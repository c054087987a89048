//! One push: whom it is for, and the request that it becomes. The words are a2's.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use a2::{CollapseId, NotificationOptions, Priority, PushType, request::payload::PayloadLike};
use http::{
    HeaderName, HeaderValue, Method, Request,
    header::{AUTHORIZATION, InvalidHeaderValue},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    classifier::Kind,
    mailbox::mailbox_name,
    registry::{Key, Registration, Topic},
};

/// Apple keeps a push for a device that is switched off for so long. After that the phone looks of itself.
pub const EXPIRES: Duration = Duration::from_secs(24 * 3600);

/// What a device is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Which registration.
    pub key: Arc<Key>,
    /// The topic that the phone was told; none for the credential's.
    pub topic: Option<Arc<Topic>>,
    /// The mailboxes that changed, of those the phone knows by name. None for a phone that was told none: for it there is only INBOX.
    pub mailboxes: Option<Vec<String>>,
    /// New mail if there was any.
    pub kind: Kind,
    /// When the first of the changes was seen.
    pub since: Instant,
    /// How many events there were.
    pub events: u32,
    /// When the last of them is so old that the phone has looked of itself.
    pub expires: Instant,
}

/// What changed in a user's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Did INBOX?
    pub inbox: bool,
    /// Other mailboxes that did.
    pub others: Vec<String>,
    /// New mail if there was any.
    pub kind: Kind,
    /// When the first of the changes was seen.
    pub since: Instant,
    /// How many events there were.
    pub events: u32,
}

impl Push {
    /// The push for a registration. None if the phone knows none of the mailboxes that changed: it would do nothing.
    #[must_use]
    pub fn new(registration: &Registration, changed: &Changed) -> Option<Self> {
        let acknowledged = &registration.acknowledged;
        let mailboxes: Option<Vec<String>> = (!acknowledged.is_empty()).then(|| {
            let is_changed = |name: &&String| {
                if mailbox_name::is_inbox(name) { changed.inbox } else { changed.others.contains(name) }
            };
            acknowledged.iter().filter(is_changed).cloned().collect()
        });
        let knows_one = mailboxes.as_ref().map_or(changed.inbox, |mailboxes| !mailboxes.is_empty());
        knows_one.then(|| Self {
            key: Arc::new(registration.key.clone()),
            topic: registration.topic.clone().map(Arc::new),
            mailboxes,
            kind: changed.kind,
            since: changed.since,
            events: changed.events,
            expires: changed.since + EXPIRES,
        })
    }

    /// This one and a later one, in one.
    #[must_use]
    pub fn joined(&self, later: Self) -> Self {
        let mailboxes = match (&self.mailboxes, later.mailboxes) {
            (Some(old), Some(mut new)) => {
                new.extend(old.iter().filter(|name| !new.contains(name)).cloned().collect::<Vec<_>>());
                Some(new)
            }
            (_, new) => new,
        };
        let expires = self.expires.max(later.expires);
        let events = self.events.saturating_add(later.events);
        Self { mailboxes, kind: self.kind.max(later.kind), since: self.since, events, expires, ..later }
    }
}

/// How pushes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priorities {
    /// Of new mail. Apple's documents want 5 of a silent push; the mail senders known to work leave the header out, which is 10.
    pub new_mail: u8,
    /// Of changes: Apple may wait until the phone is awake anyway.
    pub change: u8,
}

impl Default for Priorities {
    fn default() -> Self {
        Self { new_mail: 10, change: 5 }
    }
}

/// A push as a2 has it: token, options, and a payload that serde writes.
struct Payload<'a> {
    token: &'a str,
    account_id: &'a str,
    mailboxes: Option<&'a [String]>,
    options: NotificationOptions<'a>,
}

/// `{"aps":{"account-id":"…"}}`, with `"m":["…"]` for a phone that knows mailboxes by name: hashes of the names that changed.
impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Aps<'a> {
            #[serde(rename = "account-id")]
            account_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            m: Option<Vec<String>>,
        }
        let m = self.mailboxes.map(|names| names.iter().map(|name| mailbox_name::hash(name)).collect());
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("aps", &Aps { account_id: self.account_id, m })?;
        map.end()
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").finish_non_exhaustive()
    }
}

impl PayloadLike for Payload<'_> {
    fn get_device_token(&self) -> &str {
        self.token
    }

    fn get_options(&self) -> &NotificationOptions<'_> {
        &self.options
    }
}

/// What goes before the path of each request: the scheme and host of the server.
#[derive(Clone, Debug)]
pub struct Authority(pub http::uri::Authority);

/// The request for a push, and its body. `id` is the `apns-id`, ours to find the push in logs.
///
/// # Errors
/// If a header cannot be written, which the types of the registry rule out.
pub fn request(
    push: &Push,
    topic: &str,
    priorities: Priorities,
    authority: &Authority,
    authorization: Option<HeaderValue>,
    id: &str,
    now: SystemTime,
) -> Result<(Request<()>, String), http::Error> {
    let account_id = push.key.account.as_str();
    let expires = now + EXPIRES;
    let expires = expires.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let priority = match push.kind {
        Kind::NewMail => priorities.new_mail,
        Kind::Change => priorities.change,
    };
    let payload = Payload {
        token: &push.key.token.to_hex(),
        account_id,
        mailboxes: push.mailboxes.as_deref(),
        options: NotificationOptions {
            apns_id: Some(id),
            apns_push_type: Some(PushType::Background),
            apns_expiration: Some(expires),
            // 10 is what APNs takes when there is no such header.
            apns_priority: (priority == 5).then_some(Priority::Normal),
            apns_topic: Some(topic),
            apns_collapse_id: CollapseId::new(account_id).ok(),
        },
    };
    let body = payload.to_json_string().unwrap_or_default();
    Ok((head(&payload, authority, authorization)?, body))
}

/// The request's head from what a2 calls its options. a2 has this inside its own client only.
fn head(
    payload: &impl PayloadLike,
    authority: &Authority,
    authorization: Option<HeaderValue>,
) -> Result<Request<()>, http::Error> {
    let options = payload.get_options();
    let path = ["/3/device/", payload.get_device_token()].concat();
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        http::Uri::builder().scheme("https").authority(authority.0.clone()).path_and_query(path).build()?;
    let headers = request.headers_mut();
    headers.reserve(8);
    let mut header = |name: &'static str, value: Option<Result<HeaderValue, InvalidHeaderValue>>| {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value?);
        }
        Ok::<_, http::Error>(())
    };
    header("apns-topic", options.apns_topic.map(HeaderValue::from_str))?;
    header("apns-push-type", options.apns_push_type.as_ref().map(|it| it.to_string().try_into()))?;
    header("apns-expiration", options.apns_expiration.map(|it| Ok(it.into())))?;
    header("apns-priority", options.apns_priority.as_ref().map(|it| it.to_string().try_into()))?;
    header("apns-collapse-id", options.apns_collapse_id.as_ref().map(|it| HeaderValue::from_str(it.value)))?;
    header("apns-id", options.apns_id.map(HeaderValue::from_str))?;
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    Ok(request)
}

/// A random UUID of version 4 (RFC 9562, section 5.4), in lower case as APNs writes them.
#[must_use]
pub fn new_id() -> String {
    let random = fastrand::u128(..);
    let id = random & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let part = |from: u32, digits: u32| id << from >> (128 - 4 * digits);
    let parts = [part(0, 8), part(32, 4), part(48, 4), part(64, 4), part(80, 12)];
    let [a, b, c, d, e] = parts.map(|part| u64::try_from(part).unwrap_or_default());
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mailbox::Username,
        registry::{State, Timestamp},
    };

    fn registration(acknowledged: &[&str]) -> Registration {
        Registration {
            key: Key {
                user: Username::new("jo@example.org").expect("a name"),
                token: "2918390218931890".parse().expect("digits"),
                account: "0715A26B-CA09-4730-A419-793000CA982E".parse().expect("an id"),
            },
            subtopic: "com.apple.mobilemail".to_owned(),
            topic: None,
            mailboxes: vec!["INBOX".to_owned()],
            acknowledged: acknowledged.iter().map(ToString::to_string).collect(),
            first_registered: Timestamp(0),
            last_registered: Timestamp(0),
            last_push: None,
            last_answer: None,
            bad_answers: 0,
            state: State::Active,
        }
    }

    fn changed(inbox: bool, others: &[&str], kind: Kind) -> Changed {
        let others = others.iter().map(ToString::to_string).collect();
        Changed { inbox, others, kind, since: Instant::now(), events: 1 }
    }

    fn made(push: &Push) -> (Request<()>, String) {
        let authority = Authority("api.push.apple.com:443".parse().expect("an authority"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        request(push, "a.topic", Priorities::default(), &authority, None, "an-id", now).expect("a request")
    }

    #[test]
    fn payload_and_headers_are_what_a_phone_takes() {
        let push = Push::new(&registration(&[]), &changed(true, &[], Kind::NewMail)).expect("a push");
        let (request, body) = made(&push);
        assert_eq!(body, r#"{"aps":{"account-id":"0715A26B-CA09-4730-A419-793000CA982E"}}"#);
        assert_eq!(request.uri(), "https://api.push.apple.com:443/3/device/2918390218931890");
        let headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
            .collect();
        assert_eq!(
            headers,
            [
                ("apns-topic", "a.topic"),
                ("apns-push-type", "background"),
                ("apns-expiration", "1086400"),
                ("apns-collapse-id", "0715A26B-CA09-4730-A419-793000CA982E"),
                ("apns-id", "an-id"),
            ]
        );
    }

    #[test]
    fn a_change_may_wait_until_the_phone_is_awake() {
        let push = Push::new(&registration(&[]), &changed(true, &[], Kind::Change)).expect("a push");
        assert_eq!(made(&push).0.headers()["apns-priority"], "5");
    }

    #[test]
    fn a_phone_that_knows_mailboxes_is_told_which_changed() {
        let known = registration(&["INBOX", "Archive"]);
        let body = |changed| Push::new(&known, &changed).map(|push| made(&push).1);
        assert_eq!(
            body(changed(true, &["Trash"], Kind::Change)).expect("INBOX is known"),
            r#"{"aps":{"account-id":"0715A26B-CA09-4730-A419-793000CA982E","m":["7e33429f656f1e6e9d79b29c3f82c57e"]}}"#
        );
        assert_eq!(body(changed(false, &["Trash"], Kind::Change)), None, "it would do nothing");
        assert_eq!(Push::new(&registration(&[]), &changed(false, &["Archive"], Kind::Change)), None);
    }

    #[test]
    fn joined_pushes_name_all_mailboxes_once() {
        let known = registration(&["INBOX", "Archive"]);
        let inbox = Push::new(&known, &changed(true, &[], Kind::NewMail)).expect("a push");
        let both = Push::new(&known, &changed(true, &["Archive"], Kind::Change)).expect("a push");
        let joined = inbox.joined(both);
        assert_eq!(joined.mailboxes, Some(vec!["INBOX".to_owned(), "Archive".to_owned()]));
        assert_eq!(joined.kind, Kind::NewMail);
    }

    #[test]
    fn ids_are_uuids_of_version_4() {
        let id = new_id();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]));
        assert_ne!(id, new_id());
    }
}
