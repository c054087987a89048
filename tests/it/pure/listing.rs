//! What the sources say together, and what was found elsewhere while they were read.

use std::path::Path;

use pushmaild::mailbox::{MailboxMap, Username, source::SourceKind};

fn map(mailboxes: &[(&str, &str)]) -> MailboxMap {
    let mut map = MailboxMap::default();
    for (maildir, name) in mailboxes {
        let name = Username::new(name).expect("a name");
        map.insert(Path::new(maildir), &name, SourceKind::MailLocation).expect("a new mailbox");
    }
    map
}

/// A folder that appears while all sources are being read may come too late for the reading. What was found in it must not be
/// taken away again by the older listing.
#[test]
fn what_was_found_meanwhile_stays() {
    let mut listing = map(&[("/m/a", "a"), ("/m/b", "b")]);
    for found in [map(&[("/m/c", "c")]), map(&[("/m/b", "b"), ("/m/c", "c")]), map(&[("/m/other", "a")])] {
        listing.extend(&found);
    }
    let mailboxes: Vec<_> = listing
        .iter()
        .map(|(id, maildir)| (maildir.to_string(), listing.names(id).collect::<Vec<_>>()))
        .collect();
    assert_eq!(
        mailboxes,
        [("/m/a".to_owned(), vec!["a"]), ("/m/b".to_owned(), vec!["b"]), ("/m/c".to_owned(), vec!["c"])]
    );
}
