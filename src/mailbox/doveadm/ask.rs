//! The questions, and what goes wrong with them.

use std::{
    collections::HashSet,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use thiserror::Error;

use super::{
    super::Username,
    answers::{self, Settings, Version},
    child::{ChildError, Limits, Output, Runner},
    location::Fields,
};
use crate::plain::plain;

/// For one call of doveadm. A hundred users take some 20 ms, so what takes longer than this hangs, or asks a database that does.
const LIMITS: Limits =
    Limits { time: Duration::from_secs(120), grace: Duration::from_secs(2), output: 64 << 20 };
/// Users in one call, and bytes of their names: systems take a megabyte of arguments and environment, the oldest macOS a quarter.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 100_000;
/// doveadm's exit status when it did not find one of the users.
const NO_USER: i32 = 67;
/// The same when it could not look one of them up.
const TEMPORARY_FAILURE: i32 = 75;
/// The most of doveadm's own words in a message.
const MOST_WORDS: usize = 400;

/// Why Dovecot's users are not known.
#[derive(Debug, Error)]
pub enum DoveadmError {
    /// The program did not run as it should.
    #[error("`{command}` {error}")]
    Child {
        /// The program and what it was asked.
        command: String,
        /// What went wrong.
        error: ChildError,
    },
    /// It says that it cannot answer.
    #[error("`{command}` failed ({status}): {words}")]
    Failed {
        /// The program and what it was asked.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote to stderr.
        words: String,
    },
    /// It lists no user, and listed some before: a passwd-file may be on its way to be written.
    #[error("it lists no user any more")]
    Nobody,
    /// Its answer is none.
    #[error("`{command}` answers what doveadm does not: `{answer}`")]
    NoAnswer {
        /// The program and what it was asked.
        command: String,
        /// The beginning of it.
        answer: String,
    },
}

impl DoveadmError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Child { error: ChildError::Start(error), .. }
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                "doveadm is a part of Dovecot; write its whole path as the `command` under `doveadm`"
            }
            Self::Child { error: ChildError::TooSlow(_), .. } => {
                "Dovecot's log may say what it waits for, such as a user database that does not answer"
            }
            Self::Child { .. } | Self::NoAnswer { .. } => {
                "`command` has to be the doveadm of Dovecot 2.3 or 2.4; try `doveadm config -n` and `doveadm user '*'` as the daemon's user"
            }
            Self::Nobody => {
                "if there are no users any more, restart pushmaild; else see what `doveadm user '*'` says"
            }
            Self::Failed { words, .. } => hint_for(words),
        }
    }
}

/// What to do when doveadm says this.
fn hint_for(words: &str) -> &'static str {
    let says = |text: &str| words.contains(text);
    let is_of_socket = says("auth-userdb") || says("userdb lookup") || says("userdb list");
    if says("Permission denied") && !is_of_socket {
        return "doveadm reads Dovecot's configuration as the daemon's user, and without its capabilities: let its group read that file, as with \
                `chgrp pushmaild` and `chmod 0640`";
    }
    if is_of_socket && (says("No such file") || says("Connection refused")) {
        return "does Dovecot run? Its socket auth-userdb is in its base_dir";
    }
    let socket = says("Permission denied");
    let listing = says("listing returned failure");
    if (listing || says("lookup failed")) && !rustix::process::geteuid().is_root() || socket {
        return "let the daemon's group use Dovecot's socket: `group = pushmaild` in `service auth { unix_listener auth-userdb { … } }`, each on its \
                own line, and `mode = 0660` if the mode there is narrower; and if the userdb is `static`, which cannot list its users, use the source \
                `mail-location` or `map-file` instead";
    }
    if listing {
        return "a userdb that cannot list its users, such as `static`, cannot be asked for all: use the source `mail-location` or `map-file` \
                instead, or a userdb that can, such as passwd-file or SQL with an iterate_query";
    }
    "try the same command by hand; Dovecot's log may say more"
}

/// One user, and what Dovecot says of him.
#[derive(Clone, Debug, Default)]
struct Row {
    home: Vec<u8>,
    mail: Vec<u8>,
    driver: Vec<u8>,
    inbox_path: Vec<u8>,
}

/// All that was asked.
pub(super) struct Answers {
    pub(super) settings: Settings,
    /// Lines of the list that are no names.
    pub(super) wrong: Vec<String>,
    users: Vec<Username>,
    rows: Vec<Row>,
}

impl Answers {
    /// How many users there are.
    pub(super) const fn len(&self) -> usize {
        self.users.len()
    }

    /// Each user that Dovecot lists, and what it says of him. None if it says nothing.
    pub(super) fn users(&self) -> impl Iterator<Item = (&Username, Option<Fields<'_>>)> {
        self.users.iter().zip(&self.rows).map(|(user, row)| {
            let Row { home, mail, driver, inbox_path } = row;
            let is_known = [home, mail, driver, inbox_path].into_iter().any(|field| !field.is_empty());
            (user, is_known.then_some(Fields { home, mail, driver, inbox_path }))
        })
    }
}

/// Asks doveadm for everything. Blocks, for as long as that takes.
pub(super) fn ask(command: &Path, runner: &Runner) -> Result<Answers, DoveadmError> {
    let doveadm = Doveadm { command: command.to_owned(), runner };
    let (output, call) = doveadm.run(&["config", "-n"], &[])?;
    if !output.status.success() {
        return Err(failed(call, &output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let settings = answers::settings(&text).ok_or_else(|| no_answer(call, &output))?;
    let (output, call) = doveadm.run(&["user", "*"], &[])?;
    if !output.status.success() {
        return Err(failed(call, &output));
    }
    let (mut users, wrong) = answers::users(&output.stdout);
    // Two user databases may have one user, and the first counts.
    let mut seen = HashSet::with_capacity(users.len());
    users.retain(|user| seen.insert(user.clone()));
    drop(seen);
    let mut rows = Vec::with_capacity(users.len());
    for batch in batches(&users) {
        rows.append(&mut doveadm.rows(batch, settings.version)?);
    }
    Ok(Answers { settings, wrong, users, rows })
}

/// As many users at once as the system takes.
fn batches(users: &[Username]) -> impl Iterator<Item = &[Username]> {
    let mut rest = users;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |user: &&Username| {
            // With its NUL and its pointer.
            bytes += user.as_str().len() + 9;
            bytes <= BATCH_BYTES
        };
        let count = rest.iter().take(BATCH).take_while(fits).count().max(1);
        let (batch, others) = rest.split_at_checked(count)?;
        rest = others;
        Some(batch)
    })
}

struct Doveadm<'a> {
    command: PathBuf,
    runner: &'a Runner,
}

impl Doveadm<'_> {
    /// What is known of these users.
    fn rows(&self, users: &[Username], version: Version) -> Result<Vec<Row>, DoveadmError> {
        let mut rows = vec![Row::default(); users.len()];
        // Everybody whom Dovecot finds has one of these, so whoever has none is not asked for again.
        let mail = match version {
            Version::Location => "mail",
            Version::DriverAndPath => "mail_path",
        };
        let answers = self.field(mail, &users.iter().collect::<Vec<_>>(), true)?;
        rows.iter_mut().zip(answers).for_each(|(row, answer)| row.mail = answer);
        let (known, mut rows_of_known): (Vec<_>, Vec<_>) =
            users.iter().zip(&mut rows).filter(|(_, row)| !row.mail.is_empty()).unzip();
        let mut ask = |field: &str, set: fn(&mut Row, Vec<u8>)| {
            let answers = self.field(field, &known, false)?;
            rows_of_known.iter_mut().zip(answers).for_each(|(row, answer)| set(row, answer));
            Ok(())
        };
        ask("home", |row, home| row.home = home)?;
        if version == Version::DriverAndPath {
            ask("mail_driver", |row, driver| row.driver = driver)?;
            ask("mail_inbox_path", |row, path| row.inbox_path = path)?;
        }
        Ok(rows)
    }

    /// One field of each of these users, empty where there is none. `may_fail`: for some of them, if not for all.
    fn field(&self, field: &str, users: &[&Username], may_fail: bool) -> Result<Vec<Vec<u8>>, DoveadmError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let (output, call) = self.run(&["user", "-f", field, "--"], users)?;
        let values = answers::values(&output.stdout, users.len());
        let has_any = values.as_ref().is_some_and(|values| values.iter().any(|value| !value.is_empty()));
        match output.status.code() {
            Some(0 | NO_USER) => {}
            Some(TEMPORARY_FAILURE) if may_fail && (has_any || values.is_none()) => {}
            _ => return Err(failed(call, &output)),
        }
        match values {
            Some(values) => Ok(values.into_iter().map(<[u8]>::to_vec).collect()),
            None if users.len() == 1 => Err(no_answer(call, &output)),
            // In halves, down to single users if it must be: theirs are always clear.
            None => {
                let (some, others) = users.split_at(users.len() / 2);
                let mut values = self.field(field, some, may_fail)?;
                values.append(&mut self.field(field, others, may_fail)?);
                Ok(values)
            }
        }
    }

    /// Runs doveadm. Returns with its output how to name that call.
    fn run(&self, arguments: &[&str], users: &[&Username]) -> Result<(Output, String), DoveadmError> {
        let call = call(&self.command, arguments, users);
        let mut command = Command::new(&self.command);
        command.args(arguments).args(users.iter().map(|user| user.as_str())).current_dir("/");
        match self.runner.run(&mut command, &LIMITS) {
            Ok(output) => Ok((output, call)),
            Err(error) => Err(DoveadmError::Child { command: call, error }),
        }
    }
}

/// The call in words, without hundreds of users.
fn call(command: &Path, arguments: &[&str], users: &[&Username]) -> String {
    let mut call = command.display().to_string();
    for word in arguments {
        call.push(' ');
        call.push_str(if *word == "*" { "'*'" } else { word });
    }
    match users {
        [] => {}
        [user] => call.push_str(&format!(" {user}")),
        [user, ..] => call.push_str(&format!(" {user} …")),
    }
    call
}

fn failed(command: String, output: &Output) -> DoveadmError {
    DoveadmError::Failed { command, status: status_of(output.status), words: words(&output.stderr) }
}

fn no_answer(command: String, output: &Output) -> DoveadmError {
    let answer: String = String::from_utf8_lossy(&output.stdout).chars().take(60).collect();
    DoveadmError::NoAnswer { command, answer: answer.escape_debug().to_string() }
}

fn status_of(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit status".to_owned(),
    }
}

/// The last of what doveadm said, without what says nothing: who may not write to the socket of the statistics is told so on every call.
fn words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let is_noise = |line: &&str| {
        line.is_empty()
            || ["Raw backtrace", "Panic: ", "stats-writer"].iter().any(|noise| line.contains(noise))
    };
    let mut lines: Vec<_> = text.lines().map(str::trim).filter(|line| !is_noise(line)).collect();
    let last = lines.split_off(lines.len().saturating_sub(3));
    let words = last.join("; ");
    if words.is_empty() {
        return "it does not say why".to_owned();
    }
    let cut: String = words.chars().take(MOST_WORDS).collect();
    plain(&cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_and_leave_nobody_out() {
        let short: Vec<_> = (0..2500).map(|n| Username::new(&format!("u{n}")).expect("a name")).collect();
        let sizes: Vec<_> = batches(&short).map(<[_]>::len).collect();
        assert_eq!(sizes, [1000, 1000, 500]);
        let long: Vec<_> =
            (0..5).map(|n| Username::new(&format!("{n}{}", "x".repeat(40_000))).expect("a name")).collect();
        let sizes: Vec<_> = batches(&long).map(<[_]>::len).collect();
        assert_eq!(sizes, [2, 2, 1]);
        let longer = [Username::new(&"x".repeat(200_000)).expect("a name")];
        assert_eq!(batches(&longer).count(), 1);
        assert_eq!(batches(&[]).count(), 0);
    }

    #[test]
    fn the_words_that_help() {
        let stderr = "Error: net_connect_unix(/run/dovecot/stats-writer) failed: Permission denied\n\
                      Error: auth-master: userdb list: connect(/run/dovecot/auth-userdb) failed: No such file or directory\n\
                      Panic: file auth-master.c: line 436 (auth_master_unset_io): assertion failed: (conn->to == NULL)\n\
                      Error: Raw backtrace: #0 t_askpass[0x7f4b6bae6430]\n";
        assert_eq!(
            words(stderr.as_bytes()),
            "Error: auth-master: userdb list: connect(/run/dovecot/auth-userdb) failed: No such file or directory"
        );
        assert_eq!(words(b""), "it does not say why");
        assert!(words(&[b'x'; 5000]).len() < 500);
        assert_eq!(words(b"a\x1b[31mb\n"), "a\\u{1b}[31mb");
    }
}
