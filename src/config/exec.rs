//! `[exec]`: a program for each push.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{Check, ConfigError, span::Span};
use crate::sink::exec::command::{Argument, Command};

/// What a command may have in bytes, before names and paths are put in. Every system passes twice as much, with the environment.
const LONGEST_COMMAND: usize = 64 * 1024;
/// A machine with a few cores has enough to do with them.
const DEFAULT_CONCURRENCY: usize = 4;
/// Each is a process with two pipes of the daemon's.
const MOST_CONCURRENCY: u32 = 1000;
/// Longer than a program should take that tells somebody something.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A sink: a program that is run for each push. Leave the table out to have none.
///
/// ```toml
/// [exec]
/// command = ["/usr/local/bin/on-mail", "{user}", "{kind}"]
/// concurrency = 4
/// timeout = "30s"
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ExecTable {
    /// The program that is run for each push of each user, and its arguments. It is never given to a shell: each item is one argument, with
    /// `{user}`, `{kind}` (`new-mail` or `change`) and `{path}` (the Maildir) put in wherever they stand; the same is in the environment as
    /// `PUSHMAILD_USER`, `PUSHMAILD_KIND` and `PUSHMAILD_PATH`. A program without a slash is looked up in `PATH`. Names are passed as they
    /// are, so let the argument before `{user}` be `--` if the program has options and a name may begin with `-`. All words together have
    /// 64 KiB at most.
    ///
    /// Default: none; the table needs it
    pub(super) command: Spanned<Vec<Spanned<String>>>,
    /// How many run at the same time at most; 1 to 1000. A user has one at a time, and what comes meanwhile is one run after it.
    ///
    /// Default: `4`
    pub(super) concurrency: Option<Spanned<u32>>,
    /// How long a run may take: then its process group gets SIGTERM, and SIGKILL 5 seconds later.
    ///
    /// Default: `"30s"`
    pub(super) timeout: Option<Spanned<Span>>,
}

/// `[exec]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The program and its arguments.
    pub command: Command,
    /// How many run at once at most.
    pub concurrency: usize,
    /// How long a run may take.
    pub timeout: Duration,
}

impl Check<'_> {
    pub(super) fn exec(&self, raw: &ExecTable) -> Result<Exec, ConfigError> {
        let mut words = raw.command.get_ref().iter();
        let Some(program) = words.next() else {
            let hint = "write the program and its arguments, as in [\"/usr/local/bin/on-mail\", \"{user}\"]";
            return Err(self.error(&raw.command, "an empty command", hint));
        };
        if let Some(nul) = raw.command.get_ref().iter().find(|word| word.get_ref().contains('\0')) {
            return Err(self.error(nul, "an argument with a NUL in it", "no program can be given one"));
        }
        let bytes: usize = raw.command.get_ref().iter().map(|word| word.get_ref().len() + 1).sum();
        if bytes > LONGEST_COMMAND {
            return Err(self.error(
                &raw.command,
                format_args!("a command of {bytes} bytes"),
                "no program can be given so much: write it to a file, and name the file",
            ));
        }
        let command = Command {
            program: self.program(program)?,
            arguments: words.map(|word| self.argument(word)).collect::<Result<_, _>>()?,
        };
        let concurrency = match &raw.concurrency {
            None => DEFAULT_CONCURRENCY,
            Some(at) if (1..=MOST_CONCURRENCY).contains(at.get_ref()) => {
                usize::try_from(*at.get_ref()).unwrap_or(DEFAULT_CONCURRENCY)
            }
            Some(at) => {
                return Err(self.error(
                    at,
                    format_args!("a concurrency of {}", at.get_ref()),
                    format_args!("use 1 to {MOST_CONCURRENCY}; users without a free place wait for one"),
                ));
            }
        };
        let timeout = raw.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |timeout| timeout.get_ref().0);
        if let Some(at) = raw.timeout.as_ref().filter(|_| timeout < Duration::from_millis(10)) {
            return Err(self.error(at, "too short a timeout", "a program needs some time: use `30s`"));
        }
        Ok(Exec { command, concurrency, timeout })
    }

    fn program(&self, at: &Spanned<String>) -> Result<PathBuf, ConfigError> {
        let program = at.get_ref();
        if program.is_empty() {
            return Err(self.error(at, "a program without a name", "write the path of the program"));
        }
        if self.argument(at)?.varies() {
            return Err(self.error(
                at,
                "a placeholder in the name of the program",
                "the program is always the same one, and its arguments say for whom it runs",
            ));
        }
        // As a shell does: a name without a slash is looked up.
        Ok(if program.contains('/') { self.base().join(program) } else { program.into() })
    }

    fn argument(&self, at: &Spanned<String>) -> Result<Argument, ConfigError> {
        Argument::parse(at.get_ref())
            .map_err(|error| self.error(at, error, "known are {user}, {kind} and {path}"))
    }
}
