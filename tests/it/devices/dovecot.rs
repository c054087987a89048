//! The whole chain with a real Dovecot: mail comes by LMTP, is read by IMAP, and the phone is told of both.

use super::{ACCOUNT, TOKEN, TOPIC, config, register};
use crate::dovecot::Dovecot;
use crate::support::{Apns, Site};

const JESSE: &str = "jesse@example.org";

#[test]
fn a_delivery_and_a_read_elsewhere_are_one_push_each() {
    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    dovecot.create_maildir(&site, JESSE);
    let mut apns = Apns::start(site.path("apns"));
    let _daemon = site.start(&config(&site, &apns));
    register(&site, JESSE, TOKEN, ACCOUNT);

    dovecot.deliver(JESSE);
    let new_mail = apns.next();
    assert_eq!(new_mail.status, 200);
    assert_eq!(new_mail.token.as_deref(), Some(TOKEN));
    assert_eq!(new_mail.topic.as_deref(), Some(TOPIC));
    assert_eq!(new_mail.push_type.as_deref(), Some("background"));
    assert_eq!(new_mail.priority, None, "new mail is not to wait");
    assert_eq!(new_mail.collapse_id.as_deref(), Some(ACCOUNT));
    assert_eq!(new_mail.payload, serde_json::json!({"aps": {"account-id": ACCOUNT}}));

    let mut laptop = dovecot.imap(JESSE);
    laptop.run("SELECT INBOX");
    laptop.run("FETCH 1 BODY[]");
    let read = apns.next();
    assert_eq!((read.status, read.priority.as_deref()), (200, Some("5")));
    assert_eq!(read.payload, new_mail.payload);
    assert_ne!(read.apns_id, new_mail.apns_id);
    assert_eq!(read.connection, new_mail.connection, "one connection is kept");
    assert_eq!(apns.received().len(), 2);
}
