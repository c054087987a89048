//! From the configuration to what the pusher needs: loads the credential and knows where to go. Reads files, so it belongs on a thread
//! that may wait for a disk.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tracing::{error, info, warn};

use super::{
    counters::Facts,
    credential::{Credential, Environment, roots},
    dial::{Endpoint, TlsDial},
    judgement::ENDS_SOON,
    push::Authority,
    pusher::Settings,
};
use crate::{config::Apns, count::count};

/// When the end of a certificate is told of: days before it.
const WARNINGS: [u64; 4] = [ENDS_SOON, 14, 7, 1];

/// A credential that was loaded, and where it is good.
#[derive(Debug)]
pub struct Loaded {
    /// The credential.
    pub credential: Arc<Credential>,
    /// Which of Apple's services it is used with.
    pub environment: Environment,
    /// What is wrong with that, if anything.
    pub mismatch: Option<String>,
}

/// Why no credential can be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Loads the credential.
///
/// # Errors
/// If there is none, or it cannot be read.
pub fn load(config: &Apns) -> Result<Loaded, Unusable> {
    let Some(files) = &config.credential else {
        return Err(Unusable {
            message: "no certificate or token is configured".to_owned(),
            hint:
                "set `certificate` or `token` under [apns]; until then devices can register, and pushes wait"
                    .to_owned(),
        });
    };
    let credential = Credential::load(files)
        .map_err(|error| Unusable { message: error.to_string(), hint: error.hint() })?;
    let marks = credential.environments();
    let is_marked = |environment| marks.is_some_and(|marks| marks.contains(environment));
    let only_sandbox = is_marked(Environment::Sandbox) && !is_marked(Environment::Production);
    let by_certificate = if only_sandbox { Environment::Sandbox } else { Environment::Production };
    let environment = config.environment.unwrap_or(by_certificate);
    let has_marks = is_marked(Environment::Sandbox) || is_marked(Environment::Production);
    let mismatch = (has_marks && !is_marked(environment))
        .then(|| format!("the certificate is not for the environment `{environment}`"));
    Ok(Loaded { credential: Arc::new(credential), environment, mismatch })
}

/// What the pusher needs, with or without a credential that can be used: devices register without one.
pub fn settings(config: &Apns) -> (Settings<TlsDial>, Result<Loaded, Unusable>) {
    let loaded = load(config);
    let environment = loaded.as_ref().map_or(Environment::Production, |loaded| loaded.environment);
    let endpoint = endpoint(config, environment);
    let authority = if endpoint.port == 443 { endpoint.host.clone() } else { endpoint.to_string() };
    // The configuration has checked that it is one.
    let authority =
        Authority(authority.parse().unwrap_or_else(|_| http::uri::Authority::from_static("localhost")));
    let topic = topic(config, loaded.as_ref().ok());
    let linked = loaded.and_then(|loaded| Ok((link(config, endpoint, &loaded)?, loaded)));
    let link = match &linked {
        Ok((dial, loaded)) => Ok((dial.clone(), Arc::clone(&loaded.credential))),
        Err(unusable) => Err(unusable.message.clone()),
    };
    (Settings { link, topic, authority, priorities: config.priorities }, linked.map(|(_, loaded)| loaded))
}

fn link(config: &Apns, endpoint: Endpoint, loaded: &Loaded) -> Result<TlsDial, Unusable> {
    let roots = roots(config.ca_file.as_deref())
        .map_err(|error| Unusable { message: error.to_string(), hint: error.hint() })?;
    let client = loaded
        .credential
        .client_config(Arc::new(roots))
        .map_err(|error| Unusable { message: error.to_string(), hint: "see `pushmaild check`".to_owned() })?;
    Ok(TlsDial { endpoint, proxy: config.proxy.clone(), config: Arc::new(client) })
}

/// What pushes go to: the topic of the configuration, or the certificate's own.
#[must_use]
pub fn topic(config: &Apns, loaded: Option<&Loaded>) -> Option<String> {
    let configured = config.topic.as_ref().map(ToString::to_string);
    configured.or_else(|| Some(loaded?.credential.topic()?.to_owned()))
}

/// Where to connect to.
#[must_use]
pub fn endpoint(config: &Apns, environment: Environment) -> Endpoint {
    config.endpoint.clone().unwrap_or_else(|| Endpoint { host: environment.host().to_owned(), port: 443 })
}

/// What pushes are made with, for people.
#[must_use]
pub fn facts(config: &Apns, loaded: Option<&Loaded>, topic: Option<String>) -> Facts {
    let environment = loaded.map(|loaded| loaded.environment);
    Facts {
        endpoint: endpoint(config, environment.unwrap_or(Environment::Production)).to_string(),
        topic,
        environment: environment.map(|environment| environment.to_string()),
        certificate_ends: loaded
            .and_then(|loaded| loaded.credential.validity())
            .map(|validity| validity.not_after),
    }
}

/// Tells what a credential is, and what about it is not as it should be.
pub fn tell(loaded: &Loaded, topic: Option<&str>) {
    let Loaded { credential, environment, mismatch } = loaded;
    let subject = credential.subject();
    let topic = topic.unwrap_or("none");
    info!(subject, topic, %environment, "the credential for Apple is {subject}: topic {topic}, {environment}");
    for warning in credential.warnings() {
        warn!(hint = warning.hint(), "{warning}; hint: {}", warning.hint());
    }
    if let Some(mismatch) = mismatch {
        warn!("{mismatch}");
    }
}

fn warn_of_end(credential: &Credential, now: SystemTime) {
    if let Some(problem) = credential.problem_at(now) {
        error!(hint = problem.hint(), "{problem}; hint: {}", problem.hint());
    } else if let Some(days) = credential.days_left(now).filter(|days| *days <= ENDS_SOON) {
        let left = count(days, "day", "days");
        warn!(days, "the certificate for Apple ends in {left}; a new file is taken up by itself");
    }
}

/// Looks after the files of the credential, and after its end.
#[derive(Debug)]
pub struct Lookout {
    seen: Vec<Option<Seen>>,
    /// The days that were last told.
    told: Option<u64>,
}

/// What tells that a file is another one: device, inode, size, and mtime in nanoseconds.
type Seen = (u64, u64, u64, i64);

impl Lookout {
    /// How often to look.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// Remembers how the files are now. Made before they are read, so that nothing is missed.
    #[must_use]
    pub fn new(config: &Apns) -> Self {
        Self { seen: look(config), told: None }
    }

    /// Are they others than before?
    pub fn has_changed(&mut self, config: &Apns) -> bool {
        let now = look(config);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    /// Tells when a certificate comes to its end, once for each of 30, 14, 7 and 1 days.
    pub fn warn_of_end(&mut self, credential: &Credential, now: SystemTime) {
        let step = next_warning(credential.days_left(now), self.told);
        if step.is_some() {
            self.told = step;
            warn_of_end(credential, now);
        }
    }
}

/// The warning that is due with so many days left after the last one that was given.
fn next_warning(days_left: Option<u64>, told: Option<u64>) -> Option<u64> {
    let step = WARNINGS.into_iter().rev().find(|step| days_left.is_some_and(|days| days <= *step))?;
    told.is_none_or(|told| step < told).then_some(step)
}

fn look(config: &Apns) -> Vec<Option<Seen>> {
    let paths: Vec<PathBuf> =
        config.credential.iter().flat_map(|files| files.paths().map(ToOwned::to_owned)).collect();
    let look = |path: &PathBuf| -> io::Result<Seen> {
        let found = fs::metadata(path)?;
        Ok((found.dev(), found.ino(), found.size(), found.mtime() * 1_000_000_000 + found.mtime_nsec()))
    };
    paths.iter().map(|path| look(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_told_four_times() {
        let mut told = None;
        let mut warnings = Vec::new();
        for days in (0..100).rev() {
            if let Some(step) = next_warning(Some(days), told) {
                told = Some(step);
                warnings.push(days);
            }
        }
        assert_eq!(warnings, [30, 14, 7, 1]);
        assert_eq!(next_warning(None, None), None);
    }
}
