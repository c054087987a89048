//! The source `doveadm`: Dovecot itself says whose mail is where.
//!
//! ```text
//! ask.rs: doveadm config -n, user '*', user -f FIELD …   → answers.rs takes the output apart → location.rs: where the INBOX is
//!    └ child.rs: one call, in bounded time
//! ```
//!
//! Asking takes a while, and minutes if Dovecot hangs, so it does not happen with each reading of the sources. What was answered last is
//! remembered, and stays when there is no answer.

pub mod answers;
mod ask;
pub mod child;
pub mod location;

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::info;

pub use self::ask::DoveadmError;
use self::{
    answers::Settings,
    child::{Leash, Runner},
    location::{Fields, Inbox, NoInbox},
};
use super::{
    Username,
    listing::{Builder, Notice},
    scan,
    source::SourceKind,
};
use crate::count::count;

/// When there was no answer, Dovecot is asked again after this time at most: it may have been restarted just then.
pub const RETRY: Duration = Duration::from_secs(60);

/// The source `doveadm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doveadm {
    /// The program.
    pub command: PathBuf,
    /// How often it is asked again.
    pub refresh: Duration,
}

/// What Dovecot answered last. A copy of it costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What was asked.
    source: Option<Doveadm>,
    answer: Option<Arc<Answer>>,
    asked: Option<Instant>,
    /// Why there was no answer since then.
    trouble: Option<Arc<DoveadmError>>,
    runner: Runner,
}

#[derive(Debug, Default)]
struct Answer {
    /// Name, home and path of each INBOX, each with a NUL at its end; without a home the path is absolute.
    inboxes: Vec<u8>,
    notices: Vec<Notice>,
}

impl Memory {
    /// Remembers nothing yet. A doveadm that runs ends with the leash.
    #[must_use]
    pub fn new(leash: &Leash) -> Self {
        Self { runner: leash.runner(), ..Self::default() }
    }

    /// When Dovecot is to be asked again, if it was asked.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let refresh = self.source.as_ref()?.refresh;
        let wait = if self.trouble.is_some() { refresh.min(RETRY) } else { refresh };
        Some(self.asked? + wait)
    }

    /// Has this Dovecot been asked?
    #[must_use]
    pub fn is_of(&self, source: &Doveadm) -> bool {
        self.source.as_ref() == Some(source)
    }

    fn has_users(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| !answer.inboxes.is_empty())
    }

    /// Asks Dovecot. Blocks, for minutes if it hangs.
    pub fn ask(&mut self, source: &Doveadm) {
        // How often it is asked has nothing to do with what it answered.
        if self.source.as_ref().is_none_or(|known| known.command != source.command) {
            *self = Self { runner: self.runner.clone(), ..Self::default() };
        }
        self.source = Some(source.clone());
        let asked = ask::ask(&source.command, &self.runner).and_then(|answers| match answers.len() {
            0 if self.has_users() => Err(DoveadmError::Nobody),
            _ => Ok(answers),
        });
        self.asked = Some(Instant::now());
        match asked {
            Ok(answers) => {
                self.answer = Some(Arc::new(Answer::of(&answers, self.answer.as_deref())));
                if self.trouble.take().is_some() {
                    info!("doveadm answers again");
                }
            }
            Err(error) if self.answer.is_none() => self.trouble = Some(Arc::new(error)),
            // The same text each time, so that it is said once.
            Err(error) => _ = self.trouble.get_or_insert_with(|| Arc::new(error)),
        }
    }
}

/// Lists Dovecot's users, as it answered last. It is asked if it was not asked before, or if it is to be asked `anew`.
///
/// # Errors
/// If there is no answer, and was none before.
pub(super) fn list(
    source: &Doveadm,
    memory: &mut Memory,
    anew: bool,
    builder: &mut Builder<'_>,
) -> Result<(), Arc<DoveadmError>> {
    if anew || !memory.is_of(source) {
        memory.ask(source);
    }
    let Memory { answer, trouble, .. } = &*memory;
    match (answer, trouble) {
        // Without its users the map would be another one.
        (None, Some(trouble)) => return Err(Arc::clone(trouble)),
        (_, None) => {}
        (Some(_), Some(trouble)) => builder.notice(Notice {
            source: SourceKind::Doveadm,
            message: format!("Dovecot's users stay as they were, for there is no new answer: {trouble}"),
            hint: trouble.hint(),
            loses_pushes: false,
        }),
    }
    if let Some(answer) = answer {
        answer.notices.iter().for_each(|notice| builder.notice(notice.clone()));
        for (user, inbox) in answer.inboxes() {
            add(&user, &inbox, builder);
        }
    }
    Ok(())
}

/// Adds a user to the map.
fn add(user: &Username, inbox: &Inbox, builder: &mut Builder<'_>) {
    match &inbox.home {
        // A user may put a link into his own home, so links are looked at there. Above is the administrator's word.
        Some(home) => {
            let tail: Vec<&OsStr> = inbox.path.iter().collect();
            match scan::below(home, home, &tail) {
                Ok((maildir, identity)) => builder.entry(user, &maildir, identity),
                Err(outside) => builder.link(&outside),
            }
        }
        None => {
            let identity = fs::metadata(&inbox.path).ok().map(|found| (found.dev(), found.ino()));
            builder.entry(user, &inbox.path, identity);
        }
    }
}

impl Answer {
    /// What the answers say. Whoever is listed and could not be looked up stays where he was.
    fn of(answers: &ask::Answers, before: Option<&Self>) -> Self {
        let mut answer = Self::default();
        for wrong in &answers.wrong {
            answer.refuse(wrong.clone(), "a name has neither control characters nor wildcards", true);
        }
        let mut unknown = Vec::new();
        let mut formats = BTreeMap::new();
        for (user, fields) in answers.users() {
            match fields {
                Some(fields) => answer.add(user, &fields, &answers.settings, &mut formats),
                None => unknown.push(user),
            }
        }
        let is_unknown: HashSet<_> = unknown.iter().copied().collect();
        for (user, inbox) in
            before.into_iter().flat_map(Self::inboxes).filter(|(user, _)| is_unknown.contains(user))
        {
            answer.remember(&user, &inbox);
        }
        for user in unknown {
            answer.refuse(
                format!("Dovecot lists the user `{user}`, and does not say where the mail is"),
                "see what `doveadm user` says of this user, and Dovecot's log; without mail_location (2.3) or mail_path (2.4) Dovecot looks \
                 around for the mail, and cannot be asked",
                true,
            );
        }
        if !formats.is_empty() {
            let users: usize = formats.values().sum();
            let of_each: Vec<_> = formats.iter().map(|(format, users)| format!("{users} {format}")).collect();
            let message = format!(
                "not watched, for their mail is in no Maildir: {users} of {} ({})",
                count(answers.len(), "user", "users"),
                of_each.join(", ")
            );
            // Before those that name each of them: a log has only the first ones.
            answer.refuse(message, "they get no pushes; `pushmaild users` lists them", false);
            answer.notices.rotate_right(1);
        }
        if let Some((name, setting)) = &answers.settings.namespace {
            answer.refuse(
                format!("the namespace `{name}` has a place of its own for INBOX, `{setting}`, of which doveadm tells nothing"),
                "use the source `mail-location` with this location, or set it as mail_location or mail_path instead",
                true,
            );
        }
        answer.inboxes.shrink_to_fit();
        answer
    }

    fn add(
        &mut self,
        user: &Username,
        fields: &Fields<'_>,
        settings: &Settings,
        formats: &mut BTreeMap<String, usize>,
    ) {
        match location::inbox(user, fields, settings) {
            Ok(inbox) if inbox.is_guessed && !inbox.maildir().join("cur").is_dir() => self.refuse(
                format!(
                    "the mail of `{user}` in `{}` is no Maildir, or not there yet",
                    inbox.maildir().display()
                ),
                "write the format before the path in Dovecot's configuration, as in `maildir:~/Maildir`",
                true,
            ),
            Ok(inbox) => self.remember(user, &inbox),
            Err(error) => {
                // Meant to be so, and no mistake of anybody's.
                let is_meant = matches!(error, NoInbox::Format(_));
                self.refuse(format!("the user `{user}` {error}"), error.hint(), !is_meant);
                if let NoInbox::Format(format) = error {
                    *formats.entry(format).or_default() += 1;
                }
            }
        }
    }

    fn refuse(&mut self, message: String, hint: &'static str, loses_pushes: bool) {
        self.notices.push(Notice { source: SourceKind::Doveadm, message, hint, loses_pushes });
    }

    fn remember(&mut self, user: &Username, inbox: &Inbox) {
        let home = inbox.home.as_deref().map_or(OsStr::new(""), Path::as_os_str);
        for text in [user.as_str().as_bytes(), home.as_bytes(), inbox.path.as_os_str().as_bytes()] {
            self.inboxes.extend_from_slice(text);
            self.inboxes.push(0);
        }
    }

    fn inboxes(&self) -> impl Iterator<Item = (Username, Inbox)> {
        let mut texts = self.inboxes.split(|byte| *byte == 0);
        std::iter::from_fn(move || {
            let [user, home, path] = [texts.next()?, texts.next()?, texts.next()?];
            let path_of = |text| PathBuf::from(OsStr::from_bytes(text));
            let home = (!home.is_empty()).then(|| path_of(home));
            let user = Username::new(std::str::from_utf8(user).ok()?).ok()?;
            Some((user, Inbox { home, path: path_of(path), is_guessed: false }))
        })
    }
}
