//! `[exec]`: a program for each push.

use std::{path::PathBuf, time::Duration};

use toml::Spanned;

use super::{Check, ConfigError, raw};
use crate::sink::exec::command::{Argument, Command};

/// A machine with a few cores has enough to do with them.
const DEFAULT_CONCURRENCY: usize = 4;
/// Each is a process with two pipes of the daemon's.
const MOST_CONCURRENCY: u32 = 1000;
/// Longer than a program should take that tells somebody something.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

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
    pub(super) fn exec(&self, raw: &raw::Exec) -> Result<Exec, ConfigError> {
        let mut words = raw.command.get_ref().iter();
        let Some(program) = words.next() else {
            let hint = "write the program and its arguments, as in [\"/usr/local/bin/on-mail\", \"{user}\"]";
            return Err(self.error(&raw.command, "an empty command", hint));
        };
        if let Some(nul) = raw.command.get_ref().iter().find(|word| word.get_ref().contains('\0')) {
            return Err(self.error(nul, "an argument with a NUL in it", "no program can be given one"));
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
