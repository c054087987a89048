//! What the running daemon says: is it there, what does it watch, what waits, what was pushed last.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use super::{chain::Chain, mailbox::Mailbox};
use crate::{
    config::Config,
    control::{
        client::{AskError, ask},
        status::{MailboxState, Mailboxes, Push, SinkState, Status, UserStatus},
    },
    count::count,
    mailbox::Username,
};

/// What is watched has to be the directory that is there.
const REPLACED: &str =
    "the directory was replaced, and the next sweep notices; `systemctl reload pushmaild` makes it look now";

/// What is in the map has to be what the daemon watches.
const OLD_MAP: &str = "the map has changed since the daemon read it: `systemctl reload pushmaild`";
/// What is watched should not be polled.
const LIMIT: &str = "the limit of watches is reached; `pushmaild check` says how to raise it";

/// What the daemon said.
pub(super) struct Daemon {
    pub(super) status: Status,
    user: Option<UserStatus>,
}

/// Asks the daemon. None if it does not answer.
pub(super) fn test(chain: &mut Chain, config: &Config, mailbox: &Mailbox) -> Option<Daemon> {
    let socket = &config.control.socket;
    let status: Result<Status, AskError> = ask(socket, "status");
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            chain.broken("daemon", error.to_string(), error.hint());
            chain.untested("watched", "only the daemon knows");
            chain.untested("waiting", "only the daemon knows");
            return None;
        }
    };
    running(chain, config, &status);
    let user = match &mailbox.user {
        None => {
            all_watched(chain, &status);
            all_waiting(chain, &status);
            None
        }
        Some(user) => {
            let answer: Result<Option<UserStatus>, AskError> = ask(socket, &format!("user {user}"));
            match answer {
                Ok(answer) => {
                    watched(chain, &status, answer.as_ref(), mailbox);
                    if !mailbox.is_readable {
                        chain.last_is_a_consequence();
                    }
                    waiting(chain, &status, answer.as_ref());
                    answer
                }
                Err(error) => {
                    chain.broken("watched", error.to_string(), error.hint());
                    chain.untested("waiting", "only the daemon knows");
                    None
                }
            }
        }
    };
    Some(Daemon { status, user })
}

fn running(chain: &mut Chain, config: &Config, status: &Status) {
    let is = format!("pushmaild {} runs as process {}", status.version, status.pid);
    let own = env!("CARGO_PKG_VERSION");
    if !is_same_file(Path::new(&status.config), &config.path) {
        chain.warning(
            "daemon",
            format!("{is}, with another configuration: `{}`", status.config),
            "give that one with `-c`, or start the daemon with this one",
        );
    } else if status.version != own {
        chain.warning(
            "daemon",
            format!("{is}, and this is pushmaild {own}"),
            "after an upgrade the daemon has to be restarted: `systemctl restart pushmaild`",
        );
    } else if let Some(trouble) = &status.map.trouble {
        chain.warning(
            "daemon",
            format!("{is}, with an old map: {trouble}"),
            "what has changed in the map since then is not watched; `pushmaild check` says what is wrong",
        );
    } else if !status.ready {
        chain.warning("daemon", format!("{is}, and is still starting"), "ask again when it is ready");
    } else {
        chain.good("daemon", is);
    }
}

/// The daemon may have been given a path by way of a link.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path| fs::canonicalize(path).ok();
    // A path that is not text is not said as it is.
    one.display().to_string() == other.display().to_string()
        || real(one).is_some_and(|one| Some(one) == real(other))
}

fn watched(chain: &mut Chain, status: &Status, user: Option<&UserStatus>, mailbox: &Mailbox) {
    const LINK: &str = "watched";
    let Some(user) = user else {
        return if mailbox.maildir.is_some() {
            chain.broken(LINK, "the daemon does not know this user", OLD_MAP);
        } else {
            chain.untested(LINK, "the map has no such user");
        };
    };
    // What the daemon says is text, which a path need not be.
    if let Some(maildir) =
        mailbox.maildir.as_ref().filter(|maildir| maildir.to_string_lossy() != user.maildir)
    {
        return chain.broken(
            LINK,
            format!("the daemon watches `{}`, and the map says `{}`", user.maildir, maildir.display()),
            OLD_MAP,
        );
    }
    let reason = || user.reason.clone().unwrap_or_default();
    match user.state {
        MailboxState::Watched => {
            armed(chain, status, user, mailbox.maildir.as_deref().unwrap_or(Path::new(&user.maildir)));
        }
        MailboxState::Missing => chain.broken(
            LINK,
            "the daemon waits for the Maildir to be made",
            "it is watched as soon as it is there; if it is there, the daemon cannot see it",
        ),
        MailboxState::Trouble => chain.broken(
            LINK,
            format!("the daemon cannot watch it: {}", reason()),
            "the daemon's user needs to enter and list the directory; the daemon's log has the component that is in the way",
        ),
        MailboxState::NotWanted => chain.broken(
            LINK,
            "only mailboxes are watched whose user has a registered device, and this one has none",
            "let the phone register, or set `mailboxes = \"all\"` under [watch]",
        ),
        MailboxState::Arming => {
            chain.warning(LINK, "the daemon is about to watch it", "ask again in a moment");
        }
        MailboxState::Unknown => chain.untested(LINK, "the daemon is of another version"),
    }
}

/// Compares what is armed with what is on disk.
fn armed(chain: &mut Chain, status: &Status, user: &UserStatus, maildir: &Path) {
    const LINK: &str = "watched";
    let mut inodes = Vec::new();
    for part in &user.parts {
        let directory = maildir.join(&part.name);
        let (Some(device), Some(inode)) = (part.device, part.inode) else { continue };
        match fs::symlink_metadata(&directory) {
            Ok(found) if (found.dev(), found.ino()) == (device, inode) => {
                inodes.push(format!("{}/ is inode {inode}", part.name));
            }
            Ok(found) => {
                return chain.broken(
                    LINK,
                    format!(
                        "the daemon watches another {}/ than the one on disk: inode {inode} of device {device}, and there is {} of {}",
                        part.name,
                        found.ino(),
                        found.dev()
                    ),
                    REPLACED,
                );
            }
            Err(error) => {
                return chain.broken(LINK, format!("`{}`: {error}", directory.display()), REPLACED);
            }
        }
    }
    let inodes =
        if inodes.is_empty() { String::new() } else { format!(": {}, as on disk", inodes.join(", ")) };
    if user.parts.iter().any(|part| part.polled) && status.watch.backend != "poll" {
        chain.warning(LINK, format!("polled, so a push may be late{inodes}"), LIMIT);
    } else {
        chain.good(LINK, format!("new/ and cur/, with {}{inodes}", status.watch.backend));
    }
}

fn all_watched(chain: &mut Chain, status: &Status) {
    let Mailboxes { total, watched, missing, in_trouble, only_registered } = status.mailboxes;
    let missing = if missing > 0 { format!(", {missing} not there yet") } else { String::new() };
    let only = if only_registered { ", those with a registered device" } else { "" };
    let all = format!("{watched} of {total}{only}, with {}{missing}", status.watch.backend);
    match status.troubles.first() {
        Some(first) if in_trouble > 0 => chain.broken(
            "watched",
            format!("{all}; {in_trouble} cannot be watched, such as `{}`: {}", first.user, first.reason),
            "`pushmaild doctor USER` says more about one of them",
        ),
        _ if status.watch.is_short() => chain.warning(
            "watched",
            format!(
                "{all}; {} polled, so pushes may be late",
                count(status.watch.polled, "directory is", "directories are")
            ),
            LIMIT,
        ),
        _ => chain.good("watched", all),
    }
}

fn waiting(chain: &mut Chain, status: &Status, user: Option<&UserStatus>) {
    const LINK: &str = "waiting";
    let Some(user) = user else { return chain.untested(LINK, "the daemon does not know this user") };
    let is_in_trouble = |name: &&String| {
        status.sinks.iter().any(|sink| sink.name == **name && sink.state == SinkState::Trouble)
    };
    let stuck: Vec<&str> = user.waits_in.iter().filter(is_in_trouble).map(String::as_str).collect();
    if !stuck.is_empty() {
        return chain.warning(
            LINK,
            format!("a push waits in {}", stuck.join(", ")),
            "it goes out as soon as the receiver takes it",
        );
    }
    if !user.waits_in.is_empty() {
        return chain.good(LINK, format!("a push is on its way through {}", user.waits_in.join(", ")));
    }
    match &user.pending {
        Some(pending) => chain.good(
            LINK,
            format!(
                "{} since {}; the push goes out in {}",
                count(pending.events, "event", "events"),
                milliseconds(pending.age_ms),
                milliseconds(pending.due_in_ms)
            ),
        ),
        None => chain.good(LINK, "nothing: everything that happened has been pushed"),
    }
}

fn all_waiting(chain: &mut Chain, status: &Status) {
    let pending = status.pending;
    let debounced = count(pending.debounced, "mailbox waits", "mailboxes wait");
    let more = match pending.catching_up {
        0 => String::new(),
        mailboxes => format!(", and {mailboxes} for their turn to catch up"),
    };
    chain.good("waiting", format!("{debounced} for quiet{more}"));
}

/// The last push of the user, or of anybody.
pub(super) fn last_push(chain: &mut Chain, daemon: Option<&Daemon>, user: Option<&Username>) {
    const LINK: &str = "last push";
    let Some(Daemon { status, user: answer }) = daemon else {
        return chain.untested(LINK, "only the daemon knows");
    };
    let names: Vec<&str> = answer
        .iter()
        .flat_map(|answer| &answer.users)
        .map(String::as_str)
        .chain(user.map(Username::as_str))
        .collect();
    let of_user = |push: &&Push| user.is_none() || names.contains(&&*push.user);
    // One through each sink: another one may have taken it.
    let mut last: Vec<&Push> = Vec::new();
    for push in status.pushes.iter().filter(of_user) {
        if last.iter().all(|known| known.sink != push.sink) {
            last.push(push);
        }
    }
    if !last.is_empty() {
        let texts: Vec<_> = last.iter().map(|push| tell(push, user.is_none())).collect();
        let text = texts.join("; ");
        let has = |outcome| last.iter().any(|push| push.outcome == outcome);
        let hint = "the answer is the receiver's; the daemon's log has all of them";
        return match (has("failed"), has("refused")) {
            (false, false) => chain.good(LINK, text),
            // With another link broken this is what came of it.
            _ if !chain.is_whole() => chain.warning(LINK, text, "see the broken link"),
            (true, _) if user.is_some() => chain.broken(LINK, text, hint),
            // A device that is gone is refused, and the user may have others; and one user is not everybody.
            _ => chain.warning(LINK, text, hint),
        };
    }
    match answer.as_ref().and_then(|answer| answer.last_push.as_ref()) {
        Some(at) => chain.good(LINK, at.clone()),
        None if status.pushes.is_empty() => {
            chain.good(LINK, format!("none since the daemon started at {}", status.started));
        }
        None => chain.good(LINK, format!("none among the last {} of all users", status.pushes.len())),
    }
}

fn tell(push: &Push, with_user: bool) -> String {
    let Push { time, user, kind, sink, outcome, answer, .. } = push;
    let of = if with_user { format!(" for {user}") } else { String::new() };
    let answer = answer.as_ref().map_or_else(String::new, |answer| format!(": {answer}"));
    format!("{time}{of}, {kind} through {sink}, {outcome}{answer}")
}

fn milliseconds(milliseconds: f64) -> String {
    let time = Duration::from_secs_f64((milliseconds / 1000.0).clamp(0.0, 1e9));
    format!("{:.1} s", time.as_secs_f64())
}
