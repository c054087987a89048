//! The map and the Maildir: what `doctor` finds on disk.

use std::path::PathBuf;

use super::{
    super::{
        output,
        users::{State, state_of},
    },
    chain::Chain,
};
use crate::{
    config::Config,
    count::count,
    mailbox::{
        Username,
        listing::{Listing, Notice},
    },
};

/// Users that are named where there are many.
const NAMED: usize = 3;

/// What the map says of the user.
#[derive(Default)]
pub(super) struct Mailbox {
    /// The user; none if all are meant.
    pub(super) user: Option<Username>,
    /// All names that lead to the same Maildir; the user's own, even if the map has none.
    pub(super) names: Vec<Username>,
    /// None if the map has no such user, or if all are meant.
    pub(super) maildir: Option<PathBuf>,
    /// Is the Maildir there, and can it be read?
    pub(super) is_readable: bool,
}

pub(super) fn test(chain: &mut Chain, config: &Config, user: Option<&Username>) -> Mailbox {
    let mut mailbox =
        Mailbox { user: user.cloned(), names: user.cloned().into_iter().collect(), ..Mailbox::default() };
    let listing = match config.mailboxes.read() {
        Ok(listing) => listing,
        Err(error) => {
            chain.broken("map", error.to_string(), error.hint());
            chain.untested("Maildir", "the map cannot be read");
            return mailbox;
        }
    };
    let Some(user) = user else {
        of_all(chain, &listing);
        return mailbox;
    };
    let Some((id, source)) = listing.mailboxes.find_name(user.as_str()) else {
        not_in_map(chain, &listing, user);
        return mailbox;
    };
    let maildir = listing.mailboxes.maildir(id).map(|maildir| maildir.to_path_buf()).unwrap_or_default();
    mailbox.names = listing.mailboxes.usernames(id).collect();
    let others: Vec<_> =
        mailbox.names.iter().filter(|name| *name != user).map(|name| format!("`{name}`")).collect();
    let shared =
        if others.is_empty() { String::new() } else { format!(", shared with {}", others.join(", ")) };
    chain.good("map", format!("`{}`, from the source {source}{shared}", maildir.display()));
    match state_of(&maildir) {
        State::Ok => {
            mailbox.is_readable = true;
            chain.good("Maildir", "new/ and cur/ are there, and can be read");
        }
        State::Missing => chain.broken(
            "Maildir",
            format!("there is no Maildir at `{}`", maildir.display()),
            "the first delivery makes it; if the user has mail already, it is elsewhere, and the map is wrong",
        ),
        State::Unreadable { reason } => {
            chain.broken("Maildir", format!("`{}` cannot be watched", maildir.display()), reason);
        }
    }
    mailbox.maildir = Some(maildir);
    mailbox
}

fn not_in_map(chain: &mut Chain, listing: &Listing, user: &Username) {
    // What a source said when it left the user out is the cause.
    let quoted = format!("`{user}`");
    // Or of a folder that looks like the user's: `…/jo@example.org`, `…/example.org/jo/Maildir`.
    let nested = user.as_str().split_once('@').map(|(local, domain)| format!("/{domain}/{local}"));
    let folders: Vec<_> = [Some(format!("/{user}")), nested].into_iter().flatten().collect();
    let is_of = |message: &str, folder: &String| {
        ['`', '/'].iter().any(|end| message.contains(&format!("{folder}{end}")))
    };
    let about = listing.notices.iter().find(|notice| {
        let Notice { message, loses_pushes, .. } = notice;
        message.contains(&quoted) || *loses_pushes && folders.iter().any(|folder| is_of(message, folder))
    });
    if let Some(notice) = about {
        chain.broken("map", format!("{}: {}", notice.source, notice.message), notice.hint);
    } else {
        let names = listing.mailboxes.ids().flat_map(|id| listing.mailboxes.names(id));
        let nearest = names
            .map(|name| (strsim::jaro_winkler(user.as_str(), name), name))
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .filter(|(likeness, _)| *likeness > 0.85);
        let hint = nearest.map_or_else(
            || {
                "`pushmaild users` lists all that there are; if the user is new, is there a Maildir yet?"
                    .to_owned()
            },
            |(_, name)| format!("did you mean `{name}`? `pushmaild users` lists all that there are"),
        );
        chain.broken("map", format!("no source has the user `{user}`"), hint);
    }
    chain.untested("Maildir", "nobody knows where it is");
}

fn of_all(chain: &mut Chain, listing: &Listing) {
    let mailboxes = listing.mailboxes.len();
    let lost: Vec<_> = listing.notices.iter().filter(|notice| notice.loses_pushes).collect();
    match lost.first() {
        _ if mailboxes == 0 => chain.broken(
            "map",
            "no source gives any user",
            "is the path or the template right? `pushmaild check` says what each source gives",
        ),
        Some(first) => chain.broken(
            "map",
            format!(
                "{}; the first: {}: {}",
                count(lost.len(), "user is left out", "users are left out"),
                first.source,
                first.message
            ),
            first.hint,
        ),
        None => chain.good("map", count(mailboxes, "mailbox", "mailboxes")),
    }
    let mut progress = output::Progress::new("looking at Maildirs:", mailboxes);
    let (mut missing, mut unreadable) = (0, Vec::new());
    for (done, (id, maildir)) in listing.mailboxes.iter().enumerate() {
        progress.at(done);
        match state_of(&maildir.to_path_buf()) {
            State::Ok => {}
            State::Missing => missing += 1,
            State::Unreadable { reason } => {
                unreadable.push((listing.mailboxes.names(id).next().unwrap_or_default().to_owned(), reason));
            }
        }
    }
    drop(progress);
    let missing = match missing {
        0 => String::new(),
        missing => format!(", {missing} not there yet"),
    };
    if let Some((_, reason)) = unreadable.first() {
        let names: Vec<_> = unreadable.iter().take(NAMED).map(|(name, _)| format!("`{name}`")).collect();
        let more = if unreadable.len() > NAMED { ", …" } else { "" };
        chain.broken(
            "Maildirs",
            format!("{} cannot be watched: {}{more}{missing}", unreadable.len(), names.join(", ")),
            reason.clone(),
        );
    } else {
        chain.good("Maildirs", format!("all that are there can be read{missing}"));
    }
}
