//! `[mailboxes]`: where the map of users and Maildirs comes from.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{Check, ConfigError, span::Span};
use crate::{
    mailbox::{
        Username,
        doveadm::Doveadm,
        source::{Passwd, Source, Sources},
        template::Template,
        username_format::UsernameFormat,
    },
    proto::push_notify::Dialect,
};

/// Where the map of users and Maildirs comes from. At least one source is needed. Sources add up; the first to name a user wins, in the
/// order in which they stand here. Names that lead to the same folder are one mailbox with several names, and each of them is told.
///
/// ```toml
/// [mailboxes]
/// mail-location = "maildir:/var/vmail/%d/%n/Maildir"
/// users = { jesse = "/srv/mail/jesse" }
/// ```
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct MailboxesTable {
    /// Users and their Maildirs, written out: the name that the user logs in with, and the folder that has `cur/` and `new/` in it.
    ///
    /// Default: none
    pub(super) users: BTreeMap<Spanned<String>, Spanned<PathBuf>>,
    /// A file with a line `user: /path` for each user, and comments after `#`. It is followed when it changes. A script that writes it
    /// should write another file and `mv` it there: a file whose last line has no end is taken for half written, and the old map stays.
    ///
    /// Default: none
    pub(super) map_file: Option<Spanned<PathBuf>>,
    /// Dovecot's template, as `doveconf -h mail_location` prints it (Dovecot 2.3): `%u` is the user, `%n` the part before the `@`, `%d` the
    /// part after it, with modifiers such as `%Lu` (lower case) and `%1n` (first letter). It is matched against the folders that exist, and
    /// new ones are noticed. Hidden folders are skipped, and a link that leads out of the part before the first variable is reported and
    /// not followed.
    ///
    /// Default: none
    pub(super) mail_location: Option<Spanned<String>>,
    /// The system's users with a Maildir in their home directories. `passwd = {}` is the usual range of people.
    ///
    /// Default: none
    pub(super) passwd: Option<Spanned<PasswdTable>>,
    /// Dovecot itself, 2.3 or 2.4: who its users are and where their mail is, as `doveadm user` says. Its user database must be able to
    /// list its users, and the daemon's group must be allowed to use the socket auth-userdb. Users whose mail is no Maildir are reported
    /// and left out. `doveadm = {}` is the usual.
    ///
    /// Default: none
    pub(super) doveadm: Option<Spanned<DoveadmTable>>,
    /// OS X Server's partition map, as a rule `/Library/Server/Mail/Config/dovecot/partition_map.conf`: mail is in a folder named by GUID,
    /// and the links in the folder `users` beside it say whose it is. New links are noticed.
    ///
    /// Default: none
    pub(super) os_x_server: Option<Spanned<PathBuf>>,
    /// How a name is written before it is looked up: Dovecot's `auth_username_format`. `%Lu` makes `Jo@Example.org` and `jo@example.org`
    /// one user; with `%n` the domain does not count.
    ///
    /// Default: `"%Lu"`
    pub(super) username_format: Option<Spanned<String>>,
}

/// Users of the system, from its user database.
///
/// ```toml
/// [mailboxes]
/// passwd = { min-uid = 1000, max-uid = 59999, maildir = "Maildir" }
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct PasswdTable {
    /// The smallest user id of a person.
    ///
    /// Default: `1000`
    pub(super) min_uid: u32,
    /// The largest user id of a person.
    ///
    /// Default: `59999`
    pub(super) max_uid: u32,
    /// Where the Maildir is, below the home directory.
    ///
    /// Default: `"Maildir"`
    pub(super) maildir: PathBuf,
}

impl Default for PasswdTable {
    fn default() -> Self {
        // The range that Debian's adduser gives to people.
        Self { min_uid: 1000, max_uid: 59999, maildir: "Maildir".into() }
    }
}

/// The users of Dovecot, as it says itself. Its answer is not remembered over a start: the daemon starts when Dovecot answers.
///
/// ```toml
/// [mailboxes]
/// doveadm = { command = "doveadm", refresh = "1h" }
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct DoveadmTable {
    /// The program: a name that is looked for in `PATH`, or a path.
    ///
    /// Default: `"doveadm"`
    pub(super) command: Spanned<PathBuf>,
    /// How often Dovecot is asked again, 5 seconds or more; a reload asks it at once. While there is no answer, the last one stays.
    ///
    /// Default: `"1h"`
    pub(super) refresh: Spanned<Span>,
}

impl Default for DoveadmTable {
    fn default() -> Self {
        Self {
            command: Spanned::new(0..0, "doveadm".into()),
            refresh: Spanned::new(0..0, Span(Duration::from_secs(3600))),
        }
    }
}

impl Check<'_> {
    pub(super) fn mailboxes(
        &self,
        raw: MailboxesTable,
        dialect: Option<Dialect>,
    ) -> Result<Sources, ConfigError> {
        let mut sources = Vec::new();
        if !raw.users.is_empty() {
            let mut users = Vec::new();
            for (name, maildir) in &raw.users {
                let user = Username::new(name.get_ref()).map_err(|error| {
                    self.error(
                        name,
                        error,
                        "use the name that the user logs in with, as in `jesse` or `jo@example.org`",
                    )
                })?;
                users.push((user, self.resolve(maildir)?));
            }
            sources.push(Source::Users(users));
        }
        if let Some(path) = &raw.map_file {
            sources.push(Source::MapFile(self.resolve(path)?));
        }
        if let Some(location) = &raw.mail_location {
            let template = Template::parse(location.get_ref())
                .map_err(|error| self.error(location, &error, error.hint()))?;
            sources.push(Source::MailLocation(template));
        }
        if let Some(passwd) = &raw.passwd {
            sources.push(Source::Passwd(self.passwd(passwd)?));
        }
        if let Some(doveadm) = &raw.doveadm {
            sources.push(Source::Doveadm(self.doveadm(doveadm.get_ref())?));
        }
        if let Some(path) = &raw.os_x_server {
            sources.push(Source::OsXServer(self.resolve(path)?));
        }
        if sources.is_empty() {
            return Err(ConfigError::whole(
                self.path,
                "no source of mailboxes".to_owned(),
                "add `users`, `map-file`, `mail-location`, `passwd`, `doveadm` or `os-x-server` under [mailboxes]".to_owned(),
            ));
        }
        let username_format = match &raw.username_format {
            None => UsernameFormat::default(),
            Some(format) => UsernameFormat::try_from(format.get_ref().clone()).map_err(|error| {
                self.error(format, error, "known are %u, %n and %d, with L, U, and a width such as %1n")
            })?,
        };
        Ok(Sources { sources, username_format, dialect })
    }

    fn passwd(&self, raw: &Spanned<PasswdTable>) -> Result<Passwd, ConfigError> {
        let PasswdTable { min_uid, max_uid, maildir } = raw.get_ref();
        if min_uid > max_uid {
            return Err(self.error(
                raw,
                "min-uid is larger than max-uid",
                "people usually have 1000 to 59999",
            ));
        }
        let is_below = maildir.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if maildir.as_os_str().is_empty() || !is_below {
            return Err(self.error(
                raw,
                format_args!("the maildir `{}` is not below the home directory", maildir.display()),
                "write it as `Maildir` or `mail/inbox`",
            ));
        }
        Ok(Passwd { min_uid: *min_uid, max_uid: *max_uid, maildir: maildir.clone() })
    }

    fn doveadm(&self, raw: &DoveadmTable) -> Result<Doveadm, ConfigError> {
        let command = self.resolve(&raw.command)?;
        // As a shell takes it: a name without a slash is looked for in PATH.
        let name = raw.command.get_ref();
        let is_path = name.as_os_str().as_encoded_bytes().contains(&b'/');
        let command = if is_path { command } else { name.clone() };
        let refresh = raw.refresh.get_ref().0;
        if refresh < Duration::from_secs(5) {
            return Err(self.error(
                &raw.refresh,
                "too short a refresh",
                "use `5s` or more: each time doveadm is asked about every user",
            ));
        }
        Ok(Doveadm { command, refresh })
    }
}
