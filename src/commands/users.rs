//! `pushmaild users`: the map as the daemon would build it.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{load, output};
use crate::{exit_code::Exit, mailbox::listing::Listing, maildir::Part, path_access};

/// What is at a Maildir's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub(super) enum State {
    /// It can be watched.
    Ok,
    /// It is not there yet.
    Missing,
    /// It cannot be read.
    Unreadable {
        /// Which component of the path is in the way, and why.
        reason: String,
    },
}

/// Looks at the directories that would be watched.
pub(super) fn state_of(maildir: &Path) -> State {
    for part in Part::ALL {
        let directory = maildir.join(part.dir_name());
        match std::fs::symlink_metadata(&directory) {
            Ok(found) if found.is_symlink() => {
                return State::Unreadable {
                    reason: format!("`{}` is a symbolic link, and is not followed", directory.display()),
                };
            }
            Ok(found) if !found.is_dir() => {
                return State::Unreadable { reason: format!("`{}` is no directory", directory.display()) };
            }
            Ok(_) => {
                // Opened rather than asked with access(2), which does not count capabilities.
                if let Err(error) = std::fs::read_dir(&directory) {
                    return State::Unreadable { reason: path_access::hint(&directory, &error) };
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return State::Missing,
            Err(error) => return State::Unreadable { reason: path_access::hint(&directory, &error) },
        }
    }
    State::Ok
}

#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    maildir: PathBuf,
    source: String,
    #[serde(flatten)]
    state: &'a State,
    /// Other users of the same Maildir.
    shares_with: Vec<&'a str>,
}

#[derive(Serialize)]
struct Document<'a> {
    users: Vec<User<'a>>,
    notices: Vec<super::check::Finding>,
}

pub(super) fn run(config: &Path, json: bool) -> Exit {
    let config = match load(config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let listing = match config.mailboxes.read() {
        Ok(listing) => listing,
        Err(error) => return output::failure(Exit::Failed, &error, error.hint()),
    };
    let mut states = Vec::new();
    {
        let mut progress = output::Progress::new("looking at Maildirs:", listing.mailboxes.len());
        for (done, (_, maildir)) in listing.mailboxes.iter().enumerate() {
            progress.at(done);
            states.push(state_of(&maildir.to_path_buf()));
        }
    }
    let users = rows(&listing, &states);
    let notices: Vec<_> = listing.notices.iter().map(super::check::Finding::from).collect();
    if json {
        return output::json(Exit::Good, &Document { users, notices });
    }
    output::write(Exit::Good, |out| {
        let width = |of: fn(&User<'_>) -> usize, title: &str| {
            users.iter().map(of).max().unwrap_or(0).max(title.len())
        };
        let name = width(|user| user.user.chars().count(), "USER");
        let source = width(|user| user.source.len(), "SOURCE");
        writeln!(out, "{:name$}  {:source$}  MAILDIR", "USER", "SOURCE")?;
        for user in &users {
            let note = match user.state {
                State::Ok => String::new(),
                State::Missing => "  (not there yet)".to_owned(),
                State::Unreadable { reason } => format!("  (cannot be watched: {reason})"),
            };
            writeln!(out, "{:name$}  {:source$}  {}{note}", user.user, user.source, user.maildir.display())?;
        }
        for notice in &notices {
            writeln!(out, "\n{}", notice.message)?;
            writeln!(out, "hint: {}", notice.hint)?;
        }
        Ok(())
    })
}

fn rows<'a>(listing: &'a Listing, states: &'a [State]) -> Vec<User<'a>> {
    let mailboxes = &listing.mailboxes;
    let mut rows: Vec<_> = mailboxes
        .iter()
        .zip(states)
        .flat_map(|((id, maildir), state)| {
            mailboxes.names_with_sources(id).map(move |(user, source)| User {
                user,
                maildir: maildir.to_path_buf(),
                source: source.to_string(),
                state,
                shares_with: mailboxes.names(id).filter(|other| *other != user).collect(),
            })
        })
        .collect();
    rows.sort_by_key(|row| row.user);
    rows
}
