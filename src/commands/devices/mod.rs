//! `pushmaild devices`: the registry, for people. All of it works beside a running daemon, which asks each second whether another
//! process has changed anything.

mod import;
mod list;
mod owners;

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use super::{load, output};
use crate::{
    cli::{AddDeviceArgs, ConfigArgs, DevicesCommand, RemoveDevicesArgs},
    config::{Config, Registry},
    count::count,
    exit_code::Exit,
    mailbox::{Username, listing::Listing},
    registry::{
        Key, NewRegistration, Store, StoreError, Timestamp, Topic,
        change::{Applied, Change},
        sqlite::SqliteStore,
    },
};

pub(super) fn run(command: DevicesCommand) -> Exit {
    let done = match &command {
        DevicesCommand::List(arguments) => list::run(arguments),
        DevicesCommand::Add(arguments) => add(arguments),
        DevicesCommand::Remove(arguments) => remove(arguments),
        DevicesCommand::Import(arguments) => import::run(arguments),
        DevicesCommand::Backup { config, file } => backup(config, file),
        DevicesCommand::OptOut { config, user } => opt(config, user, true),
        DevicesCommand::OptIn { config, user } => opt(config, user, false),
    };
    done.unwrap_or_else(|exit| exit)
}

/// The configuration and its registry.
struct Place {
    config: Config,
    registry: Registry,
}

impl Place {
    fn load(ConfigArgs { config }: &ConfigArgs) -> Result<Self, Exit> {
        let config = load(config)?;
        // The registry is where it is, also while neither `[listen]` nor `[registry]` is there.
        let registry = config.registry.clone().unwrap_or_default();
        Ok(Self { config, registry })
    }

    /// For looking only: there has to be one.
    fn read(&self) -> Result<SqliteStore, Exit> {
        self.check_exists()?;
        SqliteStore::open_read_only(&self.registry.database).map_err(|error| failed(&error))
    }

    /// For changes of what is there.
    fn change(&self) -> Result<SqliteStore, Exit> {
        self.check_exists()?;
        SqliteStore::open(&self.registry.database).map_err(|error| failed(&error))
    }

    /// For changes; makes the registry if there is none.
    fn create(&self) -> Result<SqliteStore, Exit> {
        let path = &self.registry.database;
        let me = rustix::process::geteuid();
        let owner = path.parent().and_then(|folder| fs::metadata(folder).ok()).map(|folder| folder.uid());
        if let Some(owner) = owner.filter(|&owner| !path.exists() && !me.is_root() && owner != me.as_raw()) {
            // Root gives the file to whom the folder belongs; nobody else can, and the daemon could not write to it.
            return Err(output::failure(
                Exit::Failed,
                format_args!(
                    "there is no registry `{}` yet, and its folder belongs to uid {owner}",
                    path.display()
                ),
                format_args!("start the daemon first, or do this as root or as uid {owner}"),
            ));
        }
        SqliteStore::open(path).map_err(|error| failed(&error))
    }

    fn check_exists(&self) -> Result<(), Exit> {
        let path = &self.registry.database;
        match path.try_exists() {
            Ok(false) if path.parent().is_some_and(Path::is_dir) => Err(output::failure(
                Exit::Failed,
                format_args!("there is no registry `{}` yet", path.display()),
                "the daemon makes it when it has `[registry]` or `[listen]`, and so do `devices add` and `devices import`",
            )),
            // Whatever else is wrong, the store has words for it.
            _ => Ok(()),
        }
    }

    /// The name under which the daemon has the user.
    fn normalise(&self, user: &Username) -> Result<Username, Exit> {
        self.config.mailboxes.username_format.apply(user).map_err(|error| {
            output::failure(Exit::Failed, error, "check `username-format` under [mailboxes]")
        })
    }

    /// The topic that a phone was told, if nobody says which.
    fn topic(&self, store: Option<&mut dyn Store>) -> Result<Option<Topic>, Exit> {
        let configured = self.config.apns.as_ref().and_then(|apns| apns.topic.clone());
        // The topic of the certificate is the last one that is known, once the daemon has run with it.
        match (configured, store) {
            (None, Some(store)) => store.last_topic().map_err(|error| failed(&error)),
            (configured, _) => Ok(configured),
        }
    }
}

fn failed(error: &StoreError) -> Exit {
    output::failure(Exit::Failed, error, error.hint())
}

/// Applies one change in a transaction.
fn apply(store: &mut SqliteStore, change: &Change, devices_per_user: usize) -> Result<Applied, Exit> {
    let mut applied = Applied::Done(0);
    let done = store.transaction(&mut |transaction| {
        applied = change.apply(transaction, devices_per_user, &mut |_| {})?;
        Ok(())
    });
    done.map_err(|error| failed(&error))?;
    Ok(applied)
}

fn has(listing: &Listing, user: &Username) -> bool {
    listing.mailboxes.by_name(user.as_str()).is_some()
}

fn add(arguments: &AddDeviceArgs) -> Result<Exit, Exit> {
    let place = Place::load(&arguments.config)?;
    let user = place.normalise(&arguments.user)?;
    let mut store = place.create()?;
    let topic = match &arguments.topic {
        Some(topic) => Some(topic.clone()),
        None => place.topic(Some(&mut store))?,
    };
    let key = Key { user, token: arguments.token.clone(), account: arguments.account.clone() };
    let Key { user, token, account } = &key;
    let is_new = !store.of_user(user).map_err(|error| failed(&error))?.iter().any(|found| found.key == key);
    let change = Change::Register(NewRegistration {
        key: key.clone(),
        subtopic: arguments.subtopic.clone(),
        topic: topic.clone(),
        mailboxes: arguments.mailboxes.clone(),
        acknowledged: arguments.acknowledged.clone(),
        at: Timestamp::now(),
    });
    match apply(&mut store, &change, place.registry.devices_per_user)? {
        Applied::Done(_) => {}
        Applied::OptedOut => {
            return Err(output::failure(
                Exit::Failed,
                format_args!("{user} is opted out, and nothing was registered"),
                "`pushmaild devices opt-in` takes that back",
            ));
        }
        Applied::Refused(refused) => {
            return Err(output::failure(
                Exit::Failed,
                refused,
                "remove some with `pushmaild devices remove`, or raise `devices-per-user` under [registry]",
            ));
        }
    }
    // A source that cannot be read is `check`'s affair; the registration counts all the same.
    let is_in_map = place.config.mailboxes.read().map_or(true, |listing| has(&listing, user));
    Ok(output::write(Exit::Good, |out| {
        let done = if is_new { "registered" } else { "registered again" };
        writeln!(out, "{done} {token} of {user}, account {account}")?;
        match &topic {
            Some(topic) => writeln!(out, "topic: {topic}")?,
            None => writeln!(out, "topic: that of the credential, for none is known yet")?,
        }
        if !is_in_map {
            writeln!(
                out,
                "note: {user} is not in the map yet; the device is pushed to once the mailbox is there"
            )?;
        }
        Ok(())
    }))
}

fn remove(arguments: &RemoveDevicesArgs) -> Result<Exit, Exit> {
    let place = Place::load(&arguments.config)?;
    let user = place.normalise(&arguments.user)?;
    let mut store = place.change()?;
    let (token, account) = (arguments.token.clone(), arguments.account.clone());
    let is_part = token.is_some() || account.is_some();
    let change = Change::Remove { user: user.clone(), token, account };
    match apply(&mut store, &change, place.registry.devices_per_user)? {
        Applied::Done(count @ 1..) => {
            Ok(output::write(Exit::Good, |out| writeln!(out, "removed {} of {user}", registrations(count))))
        }
        _ => Err(output::failure(
            Exit::Failed,
            format_args!("{user} has no such device, and nothing was removed"),
            if is_part {
                "`pushmaild devices list USER --tokens` shows what there is"
            } else {
                "`pushmaild devices list` shows who has some"
            },
        )),
    }
}

fn opt(config: &ConfigArgs, user: &Username, out: bool) -> Result<Exit, Exit> {
    let place = Place::load(config)?;
    let user = place.normalise(user)?;
    let mut store = place.create()?;
    let was_out = store.is_opted_out(&user).map_err(|error| failed(&error))?;
    let change = Change::OptOut { user: user.clone(), out };
    let applied = apply(&mut store, &change, place.registry.devices_per_user)?;
    let removed = if let Applied::Done(removed) = applied { removed } else { 0 };
    Ok(output::write(Exit::Good, |to| match (out, was_out) {
        (true, false) => writeln!(to, "{user} is opted out; removed {}", registrations(removed)),
        (true, true) => writeln!(to, "{user} was opted out already"),
        (false, true) => writeln!(to, "{user} is opted in again; phones register within a day"),
        (false, false) => writeln!(to, "{user} was not opted out"),
    }))
}

fn backup(config: &ConfigArgs, file: &Path) -> Result<Exit, Exit> {
    let place = Place::load(config)?;
    let mut store = place.read()?;
    store.backup(file).map_err(|error| match &error {
        StoreError::Io { error: io, .. } if io.kind() == std::io::ErrorKind::AlreadyExists => {
            output::failure(
                Exit::Failed,
                format_args!("there is a file `{}` already", file.display()),
                "name another one: a copy never takes the place of anything",
            )
        }
        _ => failed(&error),
    })?;
    Ok(output::write(Exit::Good, |out| {
        writeln!(out, "copied `{}` to `{}`", place.registry.database.display(), file.display())
    }))
}

fn registrations(number: usize) -> String {
    count(number, "registration", "registrations")
}
