//! What `check` says of devices: the credential for Apple, the registry, and the sockets that registrations come in through.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    net::TcpListener,
    os::unix::fs::FileTypeExt,
    path::Path,
    time::SystemTime,
};

use serde::Serialize;

use super::{Report, some};
use crate::{
    config::{Apns, Config, Listen, NO_RECORDS},
    count::count,
    mailbox::listing::Listing,
    registry::{Store, StoreError, service::spill_path, sqlite::SqliteStore},
    sink::apns::{
        credential::roots,
        judgement::judge,
        settings::{self, Loaded},
    },
    unix_socket,
};

/// The unit's folder for sockets, which is there while the daemon runs.
const RUNTIME_DIRECTORY: &str = "/run/pushmaild";

/// `[apns]`.
#[derive(Debug, Serialize)]
pub(super) struct ApnsReport {
    subject: Option<String>,
    topic: Option<String>,
    environment: Option<String>,
    endpoint: String,
    days_left: Option<u64>,
}

/// `[registry]`.
#[derive(Debug, Serialize)]
pub(super) struct RegistryReport {
    database: String,
    registrations: usize,
    users: usize,
    suspended: usize,
    /// Mailboxes of which it is known what everybody has been told of.
    records: usize,
}

/// One socket of `[listen]`.
#[derive(Debug, Serialize)]
pub(super) struct ListenReport {
    listener: &'static str,
    address: String,
}

impl Report {
    pub(super) fn apns(&mut self, config: &Config) {
        let Some(apns) = &config.apns else { return };
        let loaded = settings::load(apns);
        let topic = settings::topic(apns, loaded.as_ref().ok());
        self.topic.clone_from(&topic);
        let mut report =
            ApnsReport { topic, subject: None, environment: None, endpoint: String::new(), days_left: None };
        match loaded {
            Ok(loaded) => self.credential(&loaded, apns, &mut report),
            Err(unusable) => {
                self.problem(format!("no push can go to Apple: {}", unusable.message), unusable.hint);
            }
        }
        if let Err(error) = roots(apns.ca_file.as_deref()) {
            self.problem(error.to_string(), error.hint());
        }
        self.apns = Some(report);
    }

    fn credential(&mut self, loaded: &Loaded, apns: &Apns, report: &mut ApnsReport) {
        let Loaded { credential, environment, .. } = loaded;
        let now = SystemTime::now();
        for finding in judge(loaded, report.topic.as_deref(), now) {
            match finding.is_fatal() {
                true => self.problem(finding.to_string(), finding.hint()),
                false => self.warning(finding.to_string(), finding.hint()),
            }
        }
        report.subject = Some(credential.subject().to_owned());
        report.environment = Some(environment.to_string());
        report.endpoint = settings::endpoint(apns, *environment).to_string();
        report.days_left = credential.days_left(now);
    }

    pub(super) fn registry(&mut self, config: &Config) {
        let Some(registry) = config.kept_registry() else {
            return self.warning(
                "there is nowhere to keep records of the mailboxes: what changes while pushmaild does not run will be told to nobody".to_owned(),
                NO_RECORDS,
            );
        };
        let mut report = RegistryReport {
            database: registry.database.display().to_string(),
            registrations: 0,
            users: 0,
            suspended: 0,
            records: 0,
        };
        if registry.database.exists() {
            match self.registrations(&registry.database, &mut report) {
                Ok(()) => {}
                Err(error) => {
                    self.problem(format!("the registry cannot be used: {error}"), error.hint());
                }
            }
        } else {
            let folder = registry.database.parent().unwrap_or(Path::new("/"));
            if let Err(error) = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
                self.problem(
                    format!("the registry cannot be made in `{}`: {error}", folder.display()),
                    "the daemon's user must be able to write there; the unit's StateDirectory= sees to /var/lib/pushmaild",
                );
            }
        }
        // The service has a runtime directory, which whoever asks here has not.
        let beside = spill_path(&registry.database);
        let of_service = Path::new(RUNTIME_DIRECTORY).join(beside.file_name().unwrap_or_default());
        for spill in [beside, of_service] {
            let Ok(text) = fs::read_to_string(&spill) else { continue };
            let lines = count(text.lines().count(), "registration", "registrations");
            self.warning(
                format!("{lines} not in the registry yet, but in `{}`", spill.display()),
                "the disk did not take them; the daemon writes them when it can, and its log says why it could not",
            );
        }
        self.registry = Some(report);
    }

    fn registrations(&mut self, database: &Path, report: &mut RegistryReport) -> Result<(), StoreError> {
        let mut topics: BTreeMap<String, usize> = BTreeMap::new();
        let mut last_user = None;
        let mut unknown = Vec::new();
        let mut store = SqliteStore::open_read_only(database)?;
        store.records(&mut |_, _| report.records += 1)?;
        store.for_each(&mut |registration| {
            report.registrations += 1;
            report.suspended += usize::from(!registration.state.is_live());
            if last_user.as_ref() != Some(&registration.key.user) {
                report.users += 1;
                if self.names.as_ref().is_some_and(|names| !names.contains(registration.key.user.as_str())) {
                    unknown.push(registration.key.user.to_string());
                }
                last_user = Some(registration.key.user);
            }
            if let Some(topic) = registration.topic {
                *topics.entry(topic.to_string()).or_default() += 1;
            }
        })?;
        if !unknown.is_empty() {
            let names: Vec<&str> = unknown.iter().map(String::as_str).collect();
            self.warning(
                format!(
                    "{} no mailbox in the map, and so no push: {}",
                    count(unknown.len(), "user with a device has", "users with devices have"),
                    some(&names)
                ),
                "do the names match those of `pushmaild users`? `username-format` says how they are compared",
            );
        }
        if let Some(ours) = &self.topic {
            let others: Vec<_> = topics.iter().filter(|(topic, _)| *topic != ours).collect();
            let waiting: usize = others.iter().map(|(_, devices)| **devices).sum();
            if let Some((topic, _)) = others.first() {
                let devices = count(waiting, "device was", "devices were");
                self.warning(
                    format!("{devices} told another topic than `{ours}`, such as `{topic}`: no push until they come back"),
                    "a phone that is used comes back within a day, and then takes pushes on the new topic",
                );
            }
        }
        Ok(())
    }

    /// How many mailboxes have a user with a device. All of them if the registry cannot be read.
    pub(super) fn registered(&self, config: &Config, listing: &Listing) -> usize {
        let mut users = HashSet::new();
        let read = config.registry.as_ref().is_some_and(|registry| {
            let store = SqliteStore::open_read_only(&registry.database);
            store
                .and_then(|mut store| {
                    store.live_users(&mut |user| {
                        users.insert(user);
                    })
                })
                .is_ok()
        });
        let mailboxes = &listing.mailboxes;
        if !read {
            return mailboxes.len();
        }
        mailboxes.ids().filter(|id| mailboxes.names(*id).any(|name| users.contains(name))).count()
    }

    pub(super) fn write_apns(&self, out: &mut dyn io::Write) -> io::Result<()> {
        if let Some(apns) = &self.apns {
            let subject = apns.subject.as_deref().unwrap_or("no credential");
            write!(out, "sink           apns: {subject}, topic {}", apns.topic.as_deref().unwrap_or("none"))?;
            if let Some(environment) = &apns.environment {
                write!(out, ", {environment} at {}", apns.endpoint)?;
            }
            match apns.days_left {
                Some(days) => writeln!(out, ", {} left", count(days, "day", "days"))?,
                None => writeln!(out)?,
            }
        }
        Ok(())
    }

    pub(super) fn write_registry(&self, out: &mut dyn io::Write) -> io::Result<()> {
        if let Some(RegistryReport { database, registrations, users, suspended, records }) = &self.registry {
            let devices = count(*registrations, "device", "devices");
            write!(out, "registry       {database}: {devices} of {}", count(*users, "user", "users"))?;
            if *suspended > 0 {
                write!(out, ", {suspended} suspended")?;
            }
            writeln!(out, "; {}", count(*records, "mailbox record", "mailbox records"))?;
        }
        for ListenReport { listener, address } in &self.listen {
            writeln!(out, "registrations  {listener} at {address}")?;
        }
        Ok(())
    }

    pub(super) fn listen(&mut self, config: &Config) {
        let Some(listen) = &config.listen else { return };
        for (listener, path) in listen.sockets() {
            self.listen.push(ListenReport { listener, address: path.display().to_string() });
            self.socket_to_bind(path);
        }
        if let Some(address) = listen.xaps_http {
            self.listen.push(ListenReport { listener: "xaps-http", address: address.to_string() });
            if !address.ip().is_loopback() {
                self.warning(
                    format!(
                        "{address} is not a loopback address: whoever reaches it can register for anybody"
                    ),
                    "let a firewall allow only the mail servers",
                );
            }
            if !self.running
                && let Err(error) = TcpListener::bind(address)
            {
                self.problem(
                    format!("cannot listen on {address}: {error}"),
                    "is another daemon, such as xapsd, still running there?",
                );
            }
        }
        self.accounts(listen);
    }

    fn socket_to_bind(&mut self, path: &Path) {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => self.problem(
                format!("`{}` is there already, and is no socket", path.display()),
                "name another path, or remove it if it is not needed",
            ),
            Ok(_) if !self.running && unix_socket::is_live(path) => self.problem(
                format!("`{}` is in use: somebody listens there", path.display()),
                "stop the other daemon that takes registrations, or name another path",
            ),
            _ => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                if folder == Path::new(RUNTIME_DIRECTORY) && !folder.exists() {
                    // The unit makes it at the start, and takes it away at the end.
                    return;
                }
                if let Err(error) = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
                    self.problem(
                        format!("`{}` cannot be made: {error}", path.display()),
                        crate::path_access::hint(folder, &error.into()),
                    );
                }
            }
        }
    }

    fn accounts(&mut self, listen: &Listen) {
        if let Some(group) = &listen.group
            && !matches!(nix::unistd::Group::from_name(group), Ok(Some(_)))
        {
            self.problem(
                format!("there is no group `{group}`"),
                "set `group` under [listen] to the group of Dovecot's processes, or leave it out",
            );
        }
        for peer in &listen.peers {
            if !matches!(nix::unistd::User::from_name(peer), Ok(Some(_))) {
                self.warning(
                    format!("there is no user `{peer}` to take registrations from"),
                    "set `peers` under [listen] to the user that Dovecot's imap and lmtp processes run as, such as `vmail`",
                );
            }
        }
    }
}
