//! Whose a registration is: names as the daemon has them, also for the GUIDs of OS X Server.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use crate::{
    mailbox::{Username, listing::Listing, map_file, username_format::UsernameFormat},
    registry::import::{Guid, Owner},
};

/// Why a line of `--map` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MapError {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) problem: &'static str,
}

/// Who is who.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_guid: HashMap<Guid, Username>,
    in_map: HashSet<Username>,
}

impl Owners {
    /// What the configuration says: a folder whose name is a GUID is its user's.
    pub(super) fn of(listing: &Listing) -> Self {
        let mut owners = Self::default();
        for (id, maildir) in listing.mailboxes.iter() {
            let mut names = listing.mailboxes.usernames(id).peekable();
            if let (Some(guid), Some(user)) = (last_guid(&maildir.to_path_buf()), names.peek()) {
                owners.by_guid.entry(guid).or_insert_with(|| user.clone());
            }
            owners.in_map.extend(names);
        }
        owners
    }

    /// Reads lines `user: GUID` or `user: /path/to/GUID`, which win over the configuration. Comments begin with `#`.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), MapError> {
        let mut seen = HashSet::new();
        for (line, bytes) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            let error = |problem| MapError { line, problem };
            let text = std::str::from_utf8(bytes).map_err(|_| error("the line is not UTF-8"))?.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, rest) = map_file::split(text).ok_or(error("there is no `user:`"))?;
            let user = Username::new(name.trim()).map_err(|_| error("the user name cannot be one"))?;
            let guid =
                last_guid(&PathBuf::from(rest.trim())).ok_or(error("there is no GUID after the user"))?;
            // The first name is the main one, as with the sources of the map.
            if seen.insert(guid.clone()) {
                self.by_guid.insert(guid, user);
            }
        }
        Ok(())
    }

    /// The normalised name, or why there is none and what to do.
    pub(super) fn name(
        &self,
        owner: &Owner,
        format: &UsernameFormat,
    ) -> Result<Username, (String, &'static str)> {
        let user = match owner {
            Owner::User(user) => user,
            Owner::Guid(guid) => self.by_guid.get(guid).ok_or((
                "nobody knows whose GUID it is".to_owned(),
                "name the users with `--map FILE`, lines `user: GUID`; or give their Maildirs, which have it as name, under [mailboxes]",
            ))?,
        };
        format.apply(user).map_err(|error| (error.to_string(), "check `username-format` under [mailboxes]"))
    }

    pub(super) fn is_in_map(&self, user: &Username) -> bool {
        self.in_map.contains(user)
    }
}

fn last_guid(path: &Path) -> Option<Guid> {
    Guid::new(path.file_name()?.to_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_guids_or_paths_that_end_in_one() {
        let mut owners = Owners::default();
        let map = "# people\n jesse: 0c69e1e7-6dc7-41b1-ad12-1c596ac7ebc8\r\na:b : /mail/0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC9/\n\
            alias: 0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8\n";
        assert_eq!(owners.read(map.as_bytes()), Ok(()));
        let name = |guid: &str| {
            let owner = Guid::new(guid).map(Owner::Guid).expect("a GUID");
            owners
                .name(&owner, &UsernameFormat::default())
                .map(|user| user.to_string())
                .map_err(|error| error.0)
        };
        assert_eq!(name("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8"), Ok("jesse".to_owned()));
        assert_eq!(name("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC9"), Ok("a:b".to_owned()));
        assert_eq!(
            name("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBCA"),
            Err("nobody knows whose GUID it is".to_owned())
        );
        for (map, line) in [("\njesse", 2), ("jesse: /var/mail/jesse", 1), ("a\u{7}: x", 1), (": x", 1)] {
            assert_eq!(owners.read(map.as_bytes()).map_err(|error| error.line), Err(line), "{map:?}");
        }
        assert!(owners.read(b"\xff").is_err());
    }
}
