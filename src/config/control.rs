//! `[control]`: where people and programs ask the running daemon how it is.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;

use super::{Check, ConfigError};

/// Where the socket is unless the configuration says otherwise.
const DEFAULT_SOCKET: &str =
    if cfg!(target_os = "linux") { "/run/pushmaild/control.sock" } else { "/var/run/pushmaild/control.sock" };

/// Where people and programs ask the running daemon how it is.
///
/// ```toml
/// [control]
/// socket = "/run/pushmaild/control.sock"
/// http = "127.0.0.1:9466"
/// ```
///
/// Takes effect: at a restart
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ControlTable {
    /// The Unix socket that `pushmaild status` and `pushmaild doctor` ask. Its mode is 0660, and only root, the daemon's user and members
    /// of its group are answered.
    ///
    /// Default: `/run/pushmaild/control.sock` (`/var/run/…` on a Mac), where that folder exists
    pub(super) socket: Option<Spanned<PathBuf>>,
    /// The group of the socket, by name: its members may see the status.
    ///
    /// Default: the daemon's own group
    pub(super) group: Option<String>,
    /// The address and port of the status page, `/metrics`, `/healthz` and `/readyz`. Another address than a loopback one needs
    /// `token-file`.
    ///
    /// Default: off
    pub(super) http: Option<Spanned<String>>,
    /// A file with a secret in its first line. With it, every request to `http` has to send `Authorization: Bearer SECRET`.
    ///
    /// Default: none; nobody is asked
    pub(super) token_file: Option<Spanned<PathBuf>>,
}

/// `[control]`; there also without the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The socket of `status` and `doctor`.
    pub socket: PathBuf,
    /// Does the configuration name it? Else a system without its folder does without.
    pub is_named: bool,
    /// The socket's group, by name.
    pub group: Option<String>,
    /// Metrics and the status page.
    pub http: Option<SocketAddr>,
    /// The file with the bearer token that `http` wants.
    pub token_file: Option<PathBuf>,
}

impl Control {
    /// The socket to bind, if there is to be one.
    #[must_use]
    pub fn bound_socket(&self) -> Option<&Path> {
        let has_folder = self.socket.parent().is_some_and(Path::is_dir);
        (self.is_named || has_folder).then_some(&*self.socket)
    }
}

impl Check<'_> {
    pub(super) fn control<'a>(
        &self,
        raw: ControlTable,
        mut others: impl Iterator<Item = &'a Path>,
    ) -> Result<Control, ConfigError> {
        let is_named = raw.socket.is_some();
        let socket = raw.socket.as_ref().map_or_else(|| Ok(DEFAULT_SOCKET.into()), |at| self.socket(at))?;
        if let Some(at) = raw.socket.as_ref().filter(|_| others.any(|other| other == socket)) {
            return Err(self.error(
                at,
                "this path is another socket's already",
                "name one that neither [listen] nor [push-notify] has",
            ));
        }
        let token_file = raw.token_file.as_ref().map(|file| self.resolve(file)).transpose()?;
        if let (Some(alone), None) = (&raw.token_file, &raw.http) {
            return Err(self.error(alone, "no `http` that this is for", "add `http = \"127.0.0.1:9466\"`"));
        }
        let http = raw.http.as_ref().map(|at| self.http(at, token_file.is_some())).transpose()?;
        Ok(Control { socket, is_named, group: raw.group, http, token_file })
    }

    fn http(&self, at: &Spanned<String>, has_token: bool) -> Result<SocketAddr, ConfigError> {
        let http: SocketAddr = at.get_ref().parse().map_err(|_| {
            self.error(at, "no address with a port", "write it as `127.0.0.1:9466` or `[::1]:9466`")
        })?;
        if !http.ip().is_loopback() && !has_token {
            return Err(self.error(
                at,
                format_args!("{} is not a loopback address, and the page shows who gets mail and when", http.ip()),
                "use `127.0.0.1` or `[::1]`; or name a file with a secret under `token-file`, which clients then have to send",
            ));
        }
        Ok(http)
    }
}
