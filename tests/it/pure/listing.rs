//! What the sources say together.

use pushmaild::mailbox::{
    Username,
    source::{Listed, Listing, SourceKind},
};

fn listed(maildir: &str, name: &str) -> Listed {
    let name = Username::new(name).expect("a name");
    Listed { maildir: maildir.into(), names: vec![(name, SourceKind::MailLocation)] }
}

/// A folder that appears while all sources are being read may come too late for the reading. What was found in it must not be
/// taken away again by the older listing.
#[test]
fn what_was_found_meanwhile_stays() {
    let listing = Listing { mailboxes: vec![listed("/m/a", "a"), listed("/m/b", "b")], ..Listing::default() };
    let meanwhile =
        vec![listed("/m/c", "c"), listed("/m/b", "b"), listed("/m/c", "c"), listed("/m/other", "a")];
    let mailboxes = listing.with(meanwhile).mailboxes;
    assert_eq!(mailboxes, [listed("/m/a", "a"), listed("/m/b", "b"), listed("/m/c", "c")]);
}
