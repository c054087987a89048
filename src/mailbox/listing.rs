//! What all sources together say, put together while they are read: nothing but the map to be is kept of an entry.

use std::{
    hash::BuildHasher,
    path::{Path, PathBuf},
};

use hashbrown::{HashTable, hash_table};
use rustc_hash::FxBuildHasher;

use super::{
    MailboxId, MailboxMap, Username,
    scan::Outside,
    source::{SourceKind, Sources},
};
use crate::{plain::plain, stamp::Stamp};

/// Something about a source that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which source.
    pub source: SourceKind,
    /// What it is, in words.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
    /// Does a user get no push because of it?
    pub loses_pushes: bool,
}

/// What all sources together say.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Each Maildir once, by the path that the first source gave, in the order of the sources. Names are normalised.
    pub mailboxes: MailboxMap,
    /// What was left out, and why.
    pub notices: Vec<Notice>,
    /// How many users each source gave.
    pub counts: Vec<(SourceKind, usize)>,
    /// Folders in which new users or domains can appear, and what they looked like before they were read.
    pub folders: Vec<(PathBuf, Option<Stamp>)>,
    /// Is a map file without an end of its last line, so that it may be half written?
    pub incomplete: Option<PathBuf>,
}

/// Puts sources together: the first to name a user wins, and one Maildir is one mailbox.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    sources: &'a Sources,
    listing: Listing,
    identities: Identities,
    kind: SourceKind,
    no_room: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            listing: Listing::default(),
            identities: Identities::default(),
            kind: SourceKind::Users,
            no_room: false,
        }
    }

    /// What comes from now on is said by this source.
    pub(super) fn begin(&mut self, kind: SourceKind) {
        self.kind = kind;
        self.listing.counts.push((kind, 0));
    }

    /// A user with a Maildir, which has this device and inode if it exists.
    pub(super) fn entry(&mut self, user: &Username, maildir: &Path, identity: Option<(u64, u64)>) {
        let Some(user) = self.normalise(user) else { return };
        let mailboxes = &mut self.listing.mailboxes;
        if let Some((first, source)) = mailboxes.find_name(user.as_str()) {
            // An earlier source wins, as the documents say; within one source it is a mistake.
            let first = mailboxes.maildir(first).filter(|_| source == self.kind);
            if let Some(first) = first.filter(|first| first != maildir) {
                let message = format!(
                    "the user `{user}` has two Maildirs, `{first}` and `{}`; the second is left out",
                    maildir.display()
                );
                self.refuse(
                    message,
                    "two names that differ in case are one user unless `username-format` keeps the case",
                );
            }
            return;
        }
        // Different paths to one folder (links, bind mounts) are one mailbox, and so are equal paths to nothing yet.
        let known = identity.and_then(|identity| self.identities.find(identity));
        let is_added = match known.or_else(|| mailboxes.by_path(maildir)) {
            Some(mailbox) => mailboxes.add_name(mailbox, &user, self.kind),
            None => match mailboxes.insert(maildir, &user, self.kind) {
                Some(mailbox) => {
                    self.identities.insert(mailbox, identity);
                    true
                }
                None => false,
            },
        };
        if let Some((_, count)) = self.listing.counts.last_mut().filter(|_| is_added) {
            *count += 1;
        } else if !std::mem::replace(&mut self.no_room, true) {
            let message = format!("no room for the user `{user}`, and for others after it");
            self.refuse(message, "paths and names of all users together can have 4 GiB");
        }
    }

    /// Does somebody have the Maildir that is this folder?
    pub(super) fn has(&self, maildir: &Path, identity: Option<(u64, u64)>) -> bool {
        identity.and_then(|identity| self.identities.find(identity)).is_some()
            || self.listing.mailboxes.by_path(maildir).is_some()
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.listing.notices.push(notice);
    }

    /// A user gets no push.
    pub(super) fn refuse(&mut self, message: String, hint: &'static str) {
        self.notice(Notice { source: self.kind, message, hint, loses_pushes: true });
    }

    /// A link that leads where it may not.
    pub(super) fn link(&mut self, outside: &Outside) {
        let shown = |path: &Path| plain(&path.display().to_string()).into_owned();
        let (link, target) = (shown(&outside.link), shown(&outside.target));
        self.refuse(
            format!("`{link}` is a link to `{target}`, and is not followed"),
            "a user could point it at somebody else's mail; name the Maildir under `users` or in the map file if it is right",
        );
    }

    /// Users or domains can appear here.
    pub(super) fn folder(&mut self, path: &Path, seen: Option<Stamp>) {
        self.listing.folders.push((path.to_owned(), seen));
    }

    /// The last line of the map file has no end.
    pub(super) fn incomplete(&mut self, map_file: &Path) {
        self.listing.incomplete = Some(map_file.to_owned());
    }

    pub(super) fn finish(self) -> Listing {
        self.listing
    }

    /// The name as it is looked up and sent, unless it cannot be.
    fn normalise(&mut self, user: &Username) -> Option<Username> {
        let name = match self.sources.username_format.apply(user) {
            Ok(name) => name,
            Err(error) => {
                let message = format!("the user `{user}` is left out: {error}");
                self.refuse(message, "check `username-format` under [mailboxes]");
                return None;
            }
        };
        if let Some(dialect) = self.sources.dialect
            && let Err(error) = dialect.accepts(&name)
        {
            let message = format!("the user `{name}` is left out, for {dialect} cannot name it: {error}");
            self.refuse(
                message,
                "use another dialect if the receiver knows one, or give the Maildir a shorter or plainer name",
            );
            return None;
        }
        Some(name)
    }
}

/// Which folder each mailbox is, while the listing is made.
#[derive(Debug, Default)]
struct Identities {
    /// Device and inode by number of the mailbox; zeros for one that does not exist.
    of: Vec<(u64, u64)>,
    /// Numbers by device and inode.
    table: HashTable<u32>,
}

impl Identities {
    fn find(&self, identity: (u64, u64)) -> Option<MailboxId> {
        let is_it = |number: &u32| self.of.get(*number as usize) == Some(&identity);
        self.table.find(FxBuildHasher.hash_one(identity), is_it).copied().map(MailboxId)
    }

    /// Notes the folder of a new mailbox. Mailboxes come in the order of their numbers.
    fn insert(&mut self, mailbox: MailboxId, identity: Option<(u64, u64)>) {
        let Self { of, table } = self;
        of.resize(mailbox.index(), (0, 0));
        of.push(identity.unwrap_or_default());
        if let Some(identity) = identity {
            let hash_of = |number: &u32| FxBuildHasher.hash_one(of[*number as usize]);
            let is_it = |number: &u32| of[*number as usize] == identity;
            if let hash_table::Entry::Vacant(free) =
                table.entry(FxBuildHasher.hash_one(identity), is_it, hash_of)
            {
                free.insert(mailbox.0);
            }
        }
    }
}
