//! `[push-notify]`: the socket of OS X Server's push daemon and its relatives.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{Check, ConfigError};
use crate::proto::push_notify::Dialect;

/// A sink: the push_notify socket of OS X Server's push daemon and its relatives. Leave the table out to have none. The receiver may be
/// away for a while: each user keeps one push until it is back.
///
/// ```toml
/// [push-notify]
/// socket = "/var/dovecot/push_notify"
/// dialect = "osx-10.8"
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PushNotifyTable {
    /// The socket that the receiver listens on. The daemon's user needs write permission on it. 103 bytes at most.
    ///
    /// Default: none; the table needs it
    pub(super) socket: Spanned<PathBuf>,
    /// What the receiver speaks.
    ///
    /// Default: `"osx-10.8"`
    #[serde(default = "osx_108")]
    pub(super) dialect: Dialect,
}

const fn osx_108() -> Dialect {
    Dialect::Osx108
}

/// `[push-notify]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushNotify {
    /// The receiver's socket.
    pub socket: PathBuf,
    /// What the receiver speaks.
    pub dialect: Dialect,
}

impl Check<'_> {
    pub(super) fn push_notify(&self, raw: PushNotifyTable) -> Result<PushNotify, ConfigError> {
        Ok(PushNotify { socket: self.socket(&raw.socket)?, dialect: raw.dialect })
    }
}
