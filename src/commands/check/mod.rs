//! `pushmaild check`: is the configuration right, and will it work here?

mod apns;
mod control;
mod exec;

use std::{collections::HashSet, io::IsTerminal, path::Path};

use serde::Serialize;

use self::{
    apns::{ApnsReport, ListenReport, RegistryReport},
    exec::ExecReport,
};
use super::{
    load, output,
    users::{State, state_of},
};
use crate::{
    config::{Backend, Config, WatchedMailboxes},
    count::count,
    exit_code::Exit,
    instance_lock::InstanceLock,
    mailbox::{
        listing::{Listing, Notice},
        source::Source,
    },
    sink::push_notify,
    unix_socket,
    watcher::{
        self,
        choice::{self, Choice},
        limits,
    },
};

/// How many users of one kind of trouble are named.
const NAMED: usize = 10;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Severity {
    /// The daemon does not start, or somebody's pushes are lost.
    Problem,
    /// It works, and may not be what was meant.
    Warning,
}

/// Something to know.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) hint: String,
}

impl From<&Notice> for Finding {
    fn from(notice: &Notice) -> Self {
        Self {
            severity: if notice.loses_pushes { Severity::Problem } else { Severity::Warning },
            message: format!("{}: {}", notice.source, notice.message),
            hint: notice.hint.to_owned(),
        }
    }
}

#[derive(Serialize)]
struct SourceReport {
    source: String,
    users: usize,
}

#[derive(Serialize)]
struct WatchReport {
    backend: &'static str,
    why: String,
    watches_needed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    watch_limit: Option<u64>,
}

#[derive(Serialize)]
struct SinkReport {
    sink: &'static str,
    socket: String,
    dialect: &'static str,
    reachable: bool,
}

/// All that `check` says.
#[derive(Serialize)]
struct Report {
    config: String,
    ok: bool,
    running: bool,
    sources: Vec<SourceReport>,
    users: usize,
    mailboxes: usize,
    missing: usize,
    watch: Option<WatchReport>,
    sinks: Vec<SinkReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apns: Option<ApnsReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<ExecReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<RegistryReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    listen: Vec<ListenReport>,
    /// The topic that devices are told, for the findings of the registry.
    #[serde(skip)]
    topic: Option<String>,
    /// All names of the map, for the same. None if it cannot be read.
    #[serde(skip)]
    names: Option<HashSet<String>>,
    findings: Vec<Finding>,
}

pub(super) fn run(path: &Path, json: bool) -> Exit {
    let config = match load(path) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let report = Report::build(&config);
    let exit = if report.ok { Exit::Good } else { Exit::Failed };
    if json {
        return output::json(exit, &report);
    }
    output::write_folded(exit, |out| report.write(out))
}

impl Report {
    fn build(config: &Config) -> Self {
        let mut report = Self {
            config: config.path.display().to_string(),
            ok: true,
            running: InstanceLock::is_held(&config.path),
            sources: Vec::new(),
            users: 0,
            mailboxes: 0,
            missing: 0,
            watch: None,
            sinks: Vec::new(),
            apns: None,
            exec: None,
            registry: None,
            listen: Vec::new(),
            topic: None,
            names: None,
            findings: Vec::new(),
        };
        match config.mailboxes.read() {
            Ok(listing) => {
                report.map(config, &listing);
                report.watches(config, &listing);
                report.names = Some(all_names(&listing).map(str::to_owned).collect());
            }
            Err(error) => report.problem(error.to_string(), error.hint()),
        }
        report.sink(config);
        report.apns(config);
        report.exec(config);
        report.control(config);
        report.registry(config);
        report.listen(config);
        report.ok = report.findings.iter().all(|finding| finding.severity != Severity::Problem);
        report
    }

    fn problem(&mut self, message: String, hint: impl Into<String>) {
        self.findings.push(Finding { severity: Severity::Problem, message, hint: hint.into() });
    }

    fn warning(&mut self, message: String, hint: impl Into<String>) {
        self.findings.push(Finding { severity: Severity::Warning, message, hint: hint.into() });
    }

    fn map(&mut self, config: &Config, listing: &Listing) {
        self.sources = listing
            .counts
            .iter()
            .map(|(source, users)| SourceReport { source: source.to_string(), users: *users })
            .collect();
        self.mailboxes = listing.mailboxes.len();
        self.users = all_names(listing).count();
        self.findings.extend(listing.notices.iter().map(Finding::from));
        for (source, users) in &listing.counts {
            if *users == 0 {
                self.warning(
                    format!("the source {source} gives no user"),
                    "is the path or the template right?",
                );
            }
        }
        if let Some(file) = &listing.incomplete {
            self.warning(
                format!("the last line of `{}` has no end", file.display()),
                "end it with a newline: after a change, a file like this is taken for half written",
            );
        }
        for source in &config.mailboxes.sources {
            if let Source::MailLocation(template) = source
                && let Some(loses) = template.loses()
            {
                let harmless = config.mailboxes.username_format.lowers() && loses.contains("case");
                if !harmless {
                    self.warning(
                        format!("mail-location does not keep the whole name: {loses}"),
                        "list those users with their full names in a `map-file`, or put them under `users`",
                    );
                }
            }
        }
        if let Some(sink) = &config.push_notify {
            let dropped: Vec<_> =
                all_names(listing).filter(|name| sink.dialect.may_be_dropped(name)).collect();
            if !dropped.is_empty() {
                let users = count(dropped.len(), "user", "users");
                self.warning(
                    format!("pushnotify.pl, if that is the receiver, would refuse {users}: {}", some(&dropped)),
                    "it takes only names of a to z, 0 to 9, `-` and `_` that begin with a letter; OS X Lion Server takes all",
                );
            }
        }
        self.maildirs(listing);
    }

    fn maildirs(&mut self, listing: &Listing) {
        let mut progress = output::Progress::new("looking at Maildirs:", listing.mailboxes.len());
        let mut missing = Vec::new();
        let mut unreadable = 0;
        for (done, (id, maildir)) in listing.mailboxes.iter().enumerate() {
            progress.at(done);
            let name = listing.mailboxes.names(id).next().unwrap_or_default();
            match state_of(&maildir.to_path_buf()) {
                State::Ok => {}
                State::Missing => missing.push(name),
                State::Unreadable { reason } => {
                    unreadable += 1;
                    if unreadable <= NAMED {
                        self.problem(
                            format!("the Maildir of `{name}` cannot be watched: `{maildir}`"),
                            reason,
                        );
                    }
                }
            }
        }
        drop(progress);
        if unreadable > NAMED {
            self.problem(
                format!("{} in all cannot be watched", count(unreadable, "Maildir", "Maildirs")),
                "`pushmaild users` lists them",
            );
        }
        self.missing = missing.len();
        if !missing.is_empty() {
            self.warning(
                format!("{} not there yet: {}", count(missing.len(), "Maildir", "Maildirs"), some(&missing)),
                "each is watched as soon as it is made, by the first delivery for example",
            );
        }
    }

    fn watches(&mut self, config: &Config, listing: &Listing) {
        let mailboxes = match config.watch.mailboxes {
            WatchedMailboxes::All => listing.mailboxes.len(),
            WatchedMailboxes::Registered => self.registered(config, listing),
        };
        let needed = mailboxes * 2 + listing.folders.len();
        let maildirs = (listing.mailboxes.len(), listing.mailboxes.iter().map(|(_, maildir)| maildir));
        let Choice { backend, why } = choice::choose(config.watch.backend, needed, maildirs);
        #[cfg(target_os = "linux")]
        if config.watch.backend == Backend::Fanotify
            && let Err(refusal) = watcher::fanotify::probe([])
        {
            self.problem(format!("the fanotify backend cannot be used: {refusal}"), refusal.hint());
        }
        let limit = (backend == Backend::Inotify || cfg!(target_os = "linux") && backend == Backend::Notify)
            .then(limits::watch_limit)
            .flatten();
        if let Some(limit) = limit
            && needed as u64 > limit.watches
        {
            self.problem(
                format!(
                    "{needed} watches are needed, and {} allows {}: the rest would be polled",
                    limit.sysctl, limit.watches
                ),
                limits::remedy(needed),
            );
        }
        self.watch = Some(WatchReport {
            backend: backend.as_str(),
            why,
            watches_needed: needed,
            watch_limit: limit.map(|limit| limit.watches),
        });
    }

    fn sink(&mut self, config: &Config) {
        let Some(sink) = &config.push_notify else {
            if !config.has_sink() {
                self.problem(
                    "there is no sink to push to".to_owned(),
                    "add a table [push-notify] with the `socket` of the push daemon, [apns] with a certificate, or [exec] with a `command`",
                );
            }
            return;
        };
        let reached = unix_socket::probe(&sink.socket, sink.dialect.is_stream());
        if let Err(error) = &reached {
            self.problem(
                format!("the push_notify socket `{}` cannot be reached: {error}", sink.socket.display()),
                push_notify::hint(&sink.socket, sink.dialect, error),
            );
        }
        self.sinks.push(SinkReport {
            sink: "push-notify",
            socket: sink.socket.display().to_string(),
            dialect: sink.dialect.as_str(),
            reachable: reached.is_ok(),
        });
    }

    fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let terminal = std::io::stdout().is_terminal();
        writeln!(out, "configuration  {}", self.config)?;
        for source in &self.sources {
            writeln!(out, "source         {}: {}", source.source, count(source.users, "user", "users"))?;
        }
        writeln!(out, "mailboxes      {} of {}", self.mailboxes, count(self.users, "user", "users"))?;
        if let Some(watch) = &self.watch {
            write!(
                out,
                "watching       {} ({}), {} needed",
                watch.backend,
                watch.why,
                count(watch.watches_needed, "watch", "watches")
            )?;
            match watch.watch_limit {
                Some(limit) => writeln!(out, ", {limit} allowed")?,
                None => writeln!(out)?,
            }
        }
        for sink in &self.sinks {
            let state = if sink.reachable { "reachable" } else { "not reachable" };
            writeln!(out, "sink           {}: {} at {}, {state}", sink.sink, sink.dialect, sink.socket)?;
        }
        self.write_apns(out)?;
        self.write_exec(out)?;
        self.write_registry(out)?;
        if self.running {
            writeln!(out, "daemon         running with this configuration")?;
        }
        for finding in &self.findings {
            let label = match finding.severity {
                Severity::Problem => output::paint(terminal, "31;1", "problem:"),
                Severity::Warning => output::paint(terminal, "33;1", "warning:"),
            };
            writeln!(out, "\n{label} {}", finding.message)?;
            writeln!(out, "{} {}", output::paint(terminal, "36", "hint:"), finding.hint)?;
        }
        let verdict = if self.ok {
            output::paint(terminal, "32;1", "good")
        } else {
            output::paint(terminal, "31;1", "not good")
        };
        writeln!(out, "\n{verdict}")
    }
}

fn all_names(listing: &Listing) -> impl Iterator<Item = &str> {
    listing.mailboxes.ids().flat_map(|id| listing.mailboxes.names(id))
}

fn some(names: &[&str]) -> String {
    let mut text = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text.push_str(", …");
    }
    text
}
