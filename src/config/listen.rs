//! `[listen]`: where Dovecot's plugins bring registrations and hints.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;

use super::{Check, ConfigError};

/// Who may register for anybody unless the configuration says otherwise: Dovecot's own user.
const DEFAULT_PEERS: [&str; 1] = ["dovecot"];
const DEFAULT_MODE: u32 = 0o660;

/// Where Dovecot's plugins bring registrations, and hints that something happened. What is left out is off; leave the table out to have
/// none. Which plugin needs which key is in the document on where you come from: [docs](README.md).
///
/// ```toml
/// [listen]
/// xaps-http = "127.0.0.1:11619"
/// ```
///
/// Takes effect: at a restart
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ListenTable {
    /// An address for XAPS over HTTP: the plugin by freswa, and docker-mailserver's recipe. Whoever reaches it can register for anybody, so
    /// it is a loopback address, unless `allow-remote` says otherwise.
    ///
    /// Default: off
    pub(super) xaps_http: Option<Spanned<String>>,
    /// A socket for XAPS in lines: the plugin by st3fan.
    ///
    /// Default: off
    pub(super) xaps_socket: Option<Spanned<PathBuf>>,
    /// A socket for push_notify datagrams: Dovecot patched with pushnotify, FreeBSD's dovecot-apns, or anything that speaks to OS X
    /// Server's push daemon.
    ///
    /// Default: off
    pub(super) push_notify_datagram: Option<Spanned<PathBuf>>,
    /// A socket for push_notify records, one a connection: the plugin by argon.
    ///
    /// Default: off
    pub(super) push_notify_stream: Option<Spanned<PathBuf>>,
    /// The permission bits of the Unix sockets, in octal digits.
    ///
    /// Default: `"0660"`
    pub(super) mode: Option<Spanned<String>>,
    /// The group of the Unix sockets: that of Dovecot's IMAP processes. The daemon can give a socket only to a group that it is in.
    ///
    /// Default: the daemon's own group
    pub(super) group: Option<String>,
    /// The users of the system who may register for anybody, beside root and the daemon's own. A process of somebody else may register for
    /// those whose Maildirs its uid owns.
    ///
    /// Default: `["dovecot"]`
    pub(super) peers: Option<Vec<String>>,
    /// Allows another than a loopback address for `xaps-http`. Only behind a firewall: there is no password.
    ///
    /// Default: `false`
    pub(super) allow_remote: bool,
}

/// `[listen]`. What is none is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// XAPS over HTTP, as the plugin by freswa speaks it.
    pub xaps_http: Option<SocketAddr>,
    /// XAPS over a Unix socket, as the plugin by st3fan speaks it.
    pub xaps_socket: Option<PathBuf>,
    /// push_notify records in datagrams.
    pub push_notify_datagram: Option<PathBuf>,
    /// argon's records, one a connection.
    pub push_notify_stream: Option<PathBuf>,
    /// The permission bits of the Unix sockets.
    pub mode: u32,
    /// Their group, by name.
    pub group: Option<String>,
    /// The users, by name, who may register for anybody, beside root and the daemon's own.
    pub peers: Vec<String>,
}

impl Listen {
    /// The Unix sockets, each with its key.
    pub fn sockets(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [
            ("xaps-socket", &self.xaps_socket),
            ("push-notify-datagram", &self.push_notify_datagram),
            ("push-notify-stream", &self.push_notify_stream),
        ]
        .into_iter()
        .filter_map(|(key, path)| Some((key, path.as_deref()?)))
    }
}

impl Check<'_> {
    pub(super) fn listen(&self, raw: ListenTable, sink: Option<&Path>) -> Result<Listen, ConfigError> {
        let mut taken: Vec<PathBuf> = sink.into_iter().map(ToOwned::to_owned).collect();
        let mut socket = |at: &Option<Spanned<PathBuf>>| -> Result<Option<PathBuf>, ConfigError> {
            let Some(at) = at else { return Ok(None) };
            let path = self.socket(at)?;
            if taken.contains(&path) {
                return Err(self.error(
                    at,
                    "this path is another socket's already",
                    "a listener needs a path of its own; the sink's socket is somebody else's",
                ));
            }
            taken.push(path.clone());
            Ok(Some(path))
        };
        let listen = Listen {
            xaps_http: raw.xaps_http.as_ref().map(|at| self.loopback(at, raw.allow_remote)).transpose()?,
            xaps_socket: socket(&raw.xaps_socket)?,
            push_notify_datagram: socket(&raw.push_notify_datagram)?,
            push_notify_stream: socket(&raw.push_notify_stream)?,
            mode: raw.mode.as_ref().map_or(Ok(DEFAULT_MODE), |at| self.mode(at))?,
            group: raw.group,
            peers: raw.peers.unwrap_or_else(|| DEFAULT_PEERS.map(str::to_owned).to_vec()),
        };
        if listen.xaps_http.is_none() && listen.sockets().next().is_none() {
            return Err(ConfigError::whole(
                self.path,
                "the table [listen] names nothing to listen on".to_owned(),
                "add `xaps-http`, `xaps-socket`, `push-notify-datagram` or `push-notify-stream`, or leave the table out".to_owned(),
            ));
        }
        Ok(listen)
    }

    fn loopback(&self, at: &Spanned<String>, allow_remote: bool) -> Result<SocketAddr, ConfigError> {
        let address: SocketAddr = at.get_ref().parse().map_err(|_| {
            self.error(at, "no address with a port", "write it as `[::1]:11619` or `127.0.0.1:11619`")
        })?;
        if !address.ip().is_loopback() && !allow_remote {
            return Err(self.error(
                at,
                format_args!(
                    "{} is not a loopback address, and whoever reaches the port can register for anybody",
                    address.ip()
                ),
                "use `[::1]` or `127.0.0.1`; if a firewall protects the port, add `allow-remote = true`",
            ));
        }
        Ok(address)
    }

    fn mode(&self, at: &Spanned<String>) -> Result<u32, ConfigError> {
        match u32::from_str_radix(at.get_ref(), 8) {
            Ok(mode) if mode & !0o777 == 0 => Ok(mode),
            _ => Err(self.error(at, "no mode of a file", "write it in octal digits, as in `\"0660\"`")),
        }
    }
}
