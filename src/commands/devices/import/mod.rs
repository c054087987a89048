//! `pushmaild devices import`: takes over what another push daemon knows.

mod report;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, Read},
    path::Path,
};

use super::{Place, failed, output, owners::Owners, registrations};
use crate::{
    cli::ImportDevicesArgs,
    exit_code::Exit,
    mailbox::Username,
    path_access,
    registry::{
        Key, NewRegistration, Registration, Store, StoreError, Timestamp, Topic, Transaction,
        import::{
            self, Found, Left, Owner, Parsed,
            merge::{self, Dated, Incoming, Merged},
            redis::Server,
        },
        life::Write,
    },
};

use report::Report;

/// So many registrations are written at once: some 10 ms, in which a running daemon can write nothing.
const BATCH: usize = 1000;
/// More than any store. A device file would have no end.
const MAX_FILE: u64 = 1 << 30;

/// A registration to be written, and where it came from.
struct Planned {
    what: String,
    incoming: Incoming,
}

pub(super) fn run(arguments: &ImportDevicesArgs) -> Result<Exit, Exit> {
    let place = Place::load(&arguments.config)?;
    let (name, parsed) = read(arguments)?;
    let mut notes = Vec::new();
    let owners = owners(&place, arguments, &parsed, &mut notes)?;

    let mut store = if !arguments.dry_run {
        Some(place.create()?)
    } else if place.registry.database.exists() {
        Some(place.read()?)
    } else {
        None
    };
    let topic = match &arguments.topic {
        Some(topic) => Some(topic.clone()),
        None => place.topic(store.as_mut().map(|store| store as &mut dyn Store))?,
    };
    if topic.is_none() {
        notes.push("no topic is known yet, so these devices are pushed to on the credential's; if the old daemon had another certificate, give its topic with --topic".to_owned());
    }

    let Parsed { format, found, left } = parsed;
    let mut report = Report {
        store: name,
        format: format.as_str(),
        dry_run: arguments.dry_run,
        new: 0,
        newer: 0,
        already_there: 0,
        left_out: Vec::new(),
        topic: topic.as_ref().map(|topic| topic.as_str().to_owned()),
        users_not_in_map: Vec::new(),
        without_time: 0,
        older_than_expire: 0,
        unknown_mailboxes: found.iter().map(|found| found.unknown_mailboxes).sum(),
        notes,
        hints: Vec::new(),
    };
    left.into_iter().for_each(|left| report.leave(left));
    let plan = plan(&place, &owners, found, topic.as_ref(), &mut report);
    let most = place.registry.devices_per_user;
    let written = match &mut store {
        Some(store) if !arguments.dry_run => {
            write(&plan, &mut report, |batch, report| {
                // What a transaction counts does not count if it fails.
                let mut counted = Counted::default();
                store.transaction(&mut |transaction| {
                    counted = Counted::default();
                    for planned in batch {
                        counted.take(planned, one(transaction, &planned.incoming, most)?);
                    }
                    Ok(())
                })?;
                report.count(counted);
                Ok(())
            })
        }
        store => {
            let mut would_be =
                WouldBe { store: store.as_mut().map(|store| store as &mut dyn Store), users: HashMap::new() };
            write(&plan, &mut report, |batch, report| {
                let mut counted = Counted::default();
                for planned in batch {
                    counted.take(planned, would_be.one(&planned.incoming, most)?);
                }
                report.count(counted);
                Ok(())
            })
        }
    };
    if let Err(error) = written {
        let done = report.new + report.newer;
        let exit = failed(&error);
        return Err(if done > 0 {
            output::failure(
                exit,
                format_args!("{} of {} were written before that", done, plan.len()),
                "do the same import again: what is there already stays as it is",
            )
        } else {
            exit
        });
    }
    let is_nothing = report.new + report.newer + report.already_there == 0 && !report.left_out.is_empty();
    let exit = if is_nothing { Exit::Failed } else { Exit::Good };
    Ok(if arguments.json { output::json(exit, &report) } else { report.print(exit, &format.to_string()) })
}

/// The name of the store, and what it has.
fn read(arguments: &ImportDevicesArgs) -> Result<(String, Parsed), Exit> {
    if let Some(url) = arguments.store.to_str().filter(|store| Server::is_address(store)) {
        let parsed = Server::parse(url).and_then(|server| Ok((server.to_string(), server.read()?)));
        return parsed.map_err(|error| output::failure(Exit::Failed, &error, error.hint()));
    }
    let path = Path::new(&arguments.store);
    let bytes = read_file(path)?;
    let parsed = import::parse(&bytes).map_err(|error| {
        output::failure(
            Exit::Failed,
            format_args!("`{}`: {error}; nothing was imported", path.display()),
            error.hint(),
        )
    })?;
    Ok((path.display().to_string(), parsed))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Exit> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let read = read.and_then(|length| {
        if length as u64 > MAX_FILE { Err(io::Error::other("the file is too large")) } else { Ok(()) }
    });
    read.map_err(|error| {
        output::failure(
            Exit::Failed,
            format_args!("cannot read `{}`: {error}", path.display()),
            path_access::hint(path, &error),
        )
    })?;
    Ok(bytes)
}

fn owners(
    place: &Place,
    arguments: &ImportDevicesArgs,
    parsed: &Parsed,
    notes: &mut Vec<String>,
) -> Result<Owners, Exit> {
    let mut owners = match place.config.mailboxes.read() {
        Ok(listing) => Owners::of(&listing),
        // Names are what they are; only GUIDs need the map.
        Err(error) => {
            notes.push(format!("the map is not known, so nobody was looked up in it: {error}"));
            Owners::default()
        }
    };
    if let Some(path) = &arguments.map {
        let bytes = read_file(path)?;
        owners.read(&bytes).map_err(|error| {
            output::failure(
                Exit::Failed,
                format_args!("{}:{}: {}; nothing was imported", path.display(), error.line, error.problem),
                "write a line as `jesse: 0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8`",
            )
        })?;
        if !parsed.found.iter().any(|found| matches!(found.owner, Owner::Guid(_))) {
            notes.push("the store has no GUIDs, so --map was of no use".to_owned());
        }
    }
    Ok(owners)
}

/// What is to be written, in the order of time.
fn plan(
    place: &Place,
    owners: &Owners,
    found: Vec<Found>,
    topic: Option<&Topic>,
    report: &mut Report,
) -> Vec<Planned> {
    let now = Timestamp::now();
    let expire = Timestamp(0).after(place.registry.expire);
    let oldest = Timestamp(now.0.saturating_sub(expire.0));
    let mut not_in_map = BTreeSet::new();
    let mut plan = Vec::new();
    for Found { what, owner, account, token, subtopic, mailboxes, at, .. } in found {
        let user = match owners.name(&owner, &place.config.mailboxes.username_format) {
            Ok(user) => user,
            Err((why, hint)) => {
                report.leave(Left { what, why, hint });
                continue;
            }
        };
        if !owners.is_in_map(&user) {
            not_in_map.insert(user.clone());
        }
        let new = NewRegistration {
            key: Key { user, token, account },
            subtopic,
            topic: topic.cloned(),
            mailboxes,
            acknowledged: Vec::new(),
            at: now,
        };
        plan.push(Planned { what, incoming: Incoming::new(new, at, now, oldest) });
    }
    // A store has what is newest last nowhere, and what is newest has to win. Those without a time come last: they are judged by
    // nothing, and nothing is by them.
    plan.sort_by_key(|planned| match planned.incoming.dated {
        Dated::At(at) => (0, at),
        Dated::Long(at) => (1, at),
        Dated::Never => (2, now),
    });
    report.users_not_in_map = not_in_map.iter().map(|user| user.as_str().to_owned()).collect();
    plan
}

fn write(
    plan: &[Planned],
    report: &mut Report,
    mut batch: impl FnMut(&[Planned], &mut Report) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut progress = output::Progress::new("importing:", plan.len());
    for (number, planned) in plan.chunks(BATCH).enumerate() {
        progress.show(number * BATCH);
        batch(planned, report)?;
    }
    Ok(())
}

/// What became of one registration, or why it was not taken.
type Outcome = Result<Merged, (String, &'static str)>;

const OPTED_OUT: &str = "the user is opted out";
const OPT_IN: &str = "`pushmaild devices opt-in USER` takes that back";
const TOO_MANY: &str = "`devices-per-user` under [registry] says how many a user may have";

fn one(store: &mut dyn Transaction, incoming: &Incoming, most: usize) -> Result<Outcome, StoreError> {
    let user = &incoming.new.key.user;
    if store.is_opted_out(user)? {
        return Ok(Err((OPTED_OUT.to_owned(), OPT_IN)));
    }
    match merge::merge(&store.of_user(user)?, incoming, most) {
        Err(refused) => Ok(Err((refused.to_string(), TOO_MANY))),
        Ok((merged, writes)) => {
            for write in writes {
                match write {
                    Write::Put(registration) => store.put(&registration)?,
                    Write::Delete(key) => store.delete(&key)?,
                }
            }
            Ok(Ok(merged))
        }
    }
}

/// The registry as it would be, for `--dry-run`.
struct WouldBe<'a> {
    store: Option<&'a mut dyn Store>,
    users: HashMap<Username, (bool, Vec<Registration>)>,
}

impl WouldBe<'_> {
    fn one(&mut self, incoming: &Incoming, most: usize) -> Result<Outcome, StoreError> {
        let user = &incoming.new.key.user;
        if !self.users.contains_key(user) {
            let is = match &mut self.store {
                Some(store) => (store.is_opted_out(user)?, store.of_user(user)?),
                None => (false, Vec::new()),
            };
            self.users.insert(user.clone(), is);
        }
        let (opted_out, of_user) = self.users.entry(user.clone()).or_default();
        if *opted_out {
            return Ok(Err((OPTED_OUT.to_owned(), OPT_IN)));
        }
        Ok(match merge::merge(of_user, incoming, most) {
            Err(refused) => Err((refused.to_string(), TOO_MANY)),
            Ok((merged, writes)) => {
                for write in writes {
                    let (Write::Put(Registration { key, .. }) | Write::Delete(key)) = &write;
                    of_user.retain(|old| old.key != *key);
                    if let Write::Put(registration) = write {
                        of_user.push(registration);
                    }
                }
                Ok(merged)
            }
        })
    }
}

/// What became of one batch.
#[derive(Default)]
struct Counted {
    new: usize,
    newer: usize,
    already_there: usize,
    without_time: usize,
    older_than_expire: usize,
    left: Vec<Left>,
}

impl Counted {
    fn take(&mut self, planned: &Planned, outcome: Outcome) {
        match outcome {
            Ok(Merged::New) => {
                self.new += 1;
                match planned.incoming.dated {
                    Dated::At(_) => {}
                    Dated::Long(_) => self.older_than_expire += 1,
                    Dated::Never => self.without_time += 1,
                }
            }
            Ok(Merged::Newer) => self.newer += 1,
            Ok(Merged::AlreadyThere) => self.already_there += 1,
            Err((why, hint)) => self.left.push(Left { what: planned.what.clone(), why, hint }),
        }
    }
}
