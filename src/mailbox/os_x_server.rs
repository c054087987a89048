//! The source `os-x-server`: folders named by GUID, and links that say whose they are.
//!
//! ```text
//! /Library/Server/Mail/Data/mail/0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8/    a Maildir
//! /Library/Server/Mail/Data/mail/users/jesse → ../0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8
//! ```
//!
//! A user's aliases are several links to one folder. The folder that a link leads to may be in another partition.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Username,
    listing::{Builder, Notice},
    partition_map::{self, Partition},
    scan::{self, Outside},
    source::{SourceError, SourceKind},
};
use crate::stamp::Stamp;

/// The tag of those who were given none, and where their mail is when the partition map does not have it.
const DEFAULT: (&str, &str) = ("default", "/Library/Server/Mail/Data/mail");
/// The folder with the links.
const USERS: &str = "users";
/// A partition map has a line or two.
const LONGEST_MAP: u64 = 1 << 20;

/// Lists whom the links name.
///
/// # Errors
/// If the partition map cannot be read.
pub(super) fn list(map: &Path, builder: &mut Builder<'_>) -> Result<(), SourceError> {
    let text = read(map).map_err(|error| SourceError::PartitionMap { path: map.to_owned(), error })?;
    let (mut partitions, errors) = partition_map::parse(&text);
    // Where Dovecot has mail when the file does not say.
    if partitions.iter().all(|known| known.tag != DEFAULT.0) && Path::new(DEFAULT.1).is_dir() {
        partitions.push(Partition { tag: DEFAULT.0.to_owned(), path: DEFAULT.1.into() });
    }
    for error in errors {
        builder.refuse(
            format!("`{}`: {error}", map.display()),
            "a line of the partition map is as `default:/Library/Server/Mail/Data/mail`",
        );
    }
    // Links may lead there by way of other links, so real paths are compared.
    let real: Vec<_> = partitions.iter().map(|partition| fs::canonicalize(&partition.path).ok()).collect();
    let partitions: Vec<_> = partitions.into_iter().zip(real).collect();
    for (partition, _) in &partitions {
        list_links(partition, &partitions, builder);
    }
    // All links are known by now: one partition may have those to another.
    for (partition, real) in &partitions {
        if real.is_some() {
            report_nameless(partition, builder);
        }
    }
    Ok(())
}

fn read(map: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(map)?, LONGEST_MAP), &mut text)?;
    Ok(text)
}

/// A partition, and where it really is, if it is there.
type Found = (Partition, Option<PathBuf>);

fn list_links(partition: &Partition, partitions: &[Found], builder: &mut Builder<'_>) {
    let users = partition.path.join(USERS);
    // Its entries are read after this, so a change that they do not show changes the stamp.
    let seen = Stamp::look(&users).ok();
    let entries = match fs::read_dir(&users) {
        Ok(entries) => entries,
        Err(error) => return report_unreadable(partition, &users, &error, builder),
    };
    builder.folder(&users, seen);
    let mut links: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    // The first name of a mailbox is its main one, so let it be the same each time.
    links.sort_unstable();
    for link in links {
        if link.file_name().is_some_and(|name| !name.as_bytes().starts_with(b".")) {
            add(&link, partitions, builder);
        }
    }
}

fn report_unreadable(partition: &Partition, users: &Path, error: &io::Error, builder: &mut Builder<'_>) {
    let Partition { tag, path } = partition;
    if error.kind() != io::ErrorKind::NotFound {
        return builder.refuse(
            format!("cannot look for names in `{}`: {error}", users.display()),
            "the daemon's user must be able to list it",
        );
    }
    if let Some(above) = users.ancestors().skip(1).find(|above| above.is_dir()) {
        builder.folder(above, None);
    }
    if !path.is_dir() {
        builder.refuse(
            format!("the partition `{tag}` is not there: `{}`", path.display()),
            "is its disk mounted, and the path in the partition map right?",
        );
    }
}

/// Adds the user whom a link names.
fn add(link: &Path, partitions: &[Found], builder: &mut Builder<'_>) {
    let name = link.file_name().unwrap_or_default();
    let user = match name.to_str().map(Username::new) {
        Some(Ok(user)) => user,
        _ => {
            let shown = link.display().to_string();
            return builder.refuse(
                format!("`{}` is not the name of a user", shown.escape_debug()),
                "a name is text without control characters",
            );
        }
    };
    let Ok(target) = fs::read_link(link) else {
        return builder.refuse(
            format!("`{}` is no link to a folder with mail", link.display()),
            "OS X Server has a link for each user there, to the folder that is named by GUID",
        );
    };
    // Relative ones start at the folder that the link is in.
    let target = link.parent().unwrap_or(Path::new("/")).join(target);
    let found = match maildir(&target, partitions) {
        Some((partition, folder)) => scan::below(partition, partition, &[folder]),
        None => Err(Outside { link: link.to_owned(), target }),
    };
    match found {
        Ok((maildir, identity)) => builder.entry(&user, &maildir, identity),
        Err(outside) => builder.link(&outside),
    }
}

/// Where a link leads: into which partition, and to which folder directly in it. That folder need not exist yet.
fn maildir<'a>(target: &'a Path, partitions: &'a [Found]) -> Option<(&'a Path, &'a OsStr)> {
    let folder = target.file_name().filter(|name| *name != USERS && !name.as_bytes().starts_with(b"."))?;
    let real = fs::canonicalize(target.parent()?).ok()?;
    let (partition, _) = partitions.iter().find(|(_, known)| known.as_deref() == Some(&real))?;
    Some((&partition.path, folder))
}

/// Says which folders are nobody's. They may be what is left of a user who is gone.
fn report_nameless(partition: &Partition, builder: &mut Builder<'_>) {
    let Ok(entries) = fs::read_dir(&partition.path) else { return };
    let mut folders: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| partition_map::is_guid(&entry.file_name()) && entry.path().is_dir())
        .map(|entry| entry.path())
        .collect();
    folders.sort_unstable();
    for folder in folders {
        let Ok((maildir, identity)) = scan::below(&partition.path, &folder, &[]) else { continue };
        if !builder.has(&maildir, identity) {
            builder.notice(Notice {
                source: SourceKind::OsXServer,
                message: format!("`{}` is nobody's: no link in `{USERS}` leads to it", folder.display()),
                hint: "if it is somebody's, name its user under `users`; it may be what is left of one who is gone",
                loses_pushes: false,
            });
        }
    }
}
