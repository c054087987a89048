//! `[registry]`: where registrations are kept.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;

use super::{Check, Config, ConfigError, span::Span};
use crate::registry::change::DEVICES_PER_USER;

/// Where it is unless the configuration says otherwise.
const DEFAULT_URL: &str = "sqlite:///var/lib/pushmaild/pushmaild.db";
/// Three or thirty days, as other daemons have it, silently end the pushes to a quiet mailbox.
const DEFAULT_EXPIRE: Duration = Duration::from_secs(180 * 24 * 3600);
/// A phone comes back when it is used, and at most every 23 hours.
const SHORTEST_EXPIRE: Duration = Duration::from_secs(2 * 24 * 3600);

/// What to do where [`Config::kept_registry`] finds nothing.
pub const NO_RECORDS: &str =
    "make the folder /var/lib/pushmaild for the daemon's user, or name a file under `[registry] url`";

/// Where registrations are kept, and what everybody has been told of: with that, a start finds what changed while the daemon did not run.
/// The table may be left out.
///
/// ```toml
/// [registry]
/// url = "sqlite:///var/lib/pushmaild/pushmaild.db"
/// expire = "180d"
/// ```
///
/// Takes effect: at a restart
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RegistryTable {
    /// An SQLite file, in a folder that the daemon's user may write to.
    ///
    /// Default: `"sqlite:///var/lib/pushmaild/pushmaild.db"`
    pub(super) url: Option<Spanned<String>>,
    /// A device that has not come back for so long is forgotten. Phones come back about once a day while they are used, and Apple usually
    /// says sooner that a device is gone. Two days at least.
    ///
    /// Default: `"180d"`
    pub(super) expire: Option<Spanned<Span>>,
    /// The most devices of one user. Beyond it, a new one is refused.
    ///
    /// Default: `50`
    pub(super) devices_per_user: Option<Spanned<u32>>,
}

/// `[registry]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The SQLite file.
    pub database: PathBuf,
    /// Registrations that have not come back for so long are removed.
    pub expire: Duration,
    /// The most devices of a user.
    pub devices_per_user: usize,
}

/// For the commands that change the registry: it is where it is, also if nothing in the configuration needs it yet.
impl Default for Registry {
    fn default() -> Self {
        Self {
            database: PathBuf::from(DEFAULT_URL.trim_start_matches("sqlite://")),
            expire: DEFAULT_EXPIRE,
            devices_per_user: DEVICES_PER_USER,
        }
    }
}

impl Config {
    /// Where records of the mailboxes are kept, and registrations: what `[registry]` says; without it the default, if somebody has made the
    /// folder for it, as packages and the unit do. None if there is nowhere.
    #[must_use]
    pub fn kept_registry(&self) -> Option<Registry> {
        self.registry.clone().or_else(|| {
            let default = Registry::default();
            default.database.parent().is_some_and(Path::is_dir).then_some(default)
        })
    }
}

impl Check<'_> {
    pub(super) fn registry(&self, raw: RegistryTable) -> Result<Registry, ConfigError> {
        let database = match &raw.url {
            None => self.base().join(DEFAULT_URL.trim_start_matches("sqlite://")),
            Some(url) => {
                let text = url.get_ref();
                let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"));
                let Some(path) = path.filter(|path| !path.is_empty() && !path.contains('\0')) else {
                    // Not the URL itself: other kinds have passwords in them.
                    return Err(self.error(url, "the url of the registry is not one of an SQLite file", "write it as `sqlite:///var/lib/pushmaild/pushmaild.db`; other databases are not in this version of pushmaild"));
                };
                self.base().join(path)
            }
        };
        let expire = raw.expire.as_ref().map_or(DEFAULT_EXPIRE, |expire| expire.get_ref().0);
        if let Some(at) = raw.expire.as_ref().filter(|_| expire < SHORTEST_EXPIRE) {
            return Err(self.error(
                at,
                "too short an expire",
                "phones come back at most every 23 hours, and only while they are used: use `180d`",
            ));
        }
        let devices_per_user = match &raw.devices_per_user {
            None => DEVICES_PER_USER,
            Some(most) if *most.get_ref() == 0 => {
                return Err(self.error(
                    most,
                    "no device at all",
                    "leave `[apns]` and `[listen]` out instead",
                ));
            }
            Some(most) => usize::try_from(*most.get_ref()).unwrap_or(usize::MAX),
        };
        Ok(Registry { database, expire, devices_per_user })
    }
}
