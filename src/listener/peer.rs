//! Who speaks, and whether he may speak for anybody.

use std::fmt;

use nix::unistd::User;
use rustix::process::geteuid;
use tracing::warn;

use super::intake::Peer;

/// The other end of a connection, or the sender of a datagram. What is counted for one is counted by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Speaker {
    /// Whoever reaches the TCP port: nobody can tell who it is. The configuration takes care that this is the machine's own.
    Port,
    /// Whoever may write to the datagram socket, on a system that does not say who: its mode decides.
    #[cfg_attr(target_os = "linux", expect(dead_code, reason = "Linux tells who"))]
    Socket,
    /// A process of root, of the daemon's user, or of one of `peers`.
    Trusted(u32),
    /// A process of another user.
    Other(u32),
}

impl Speaker {
    pub(super) const fn peer(self) -> Peer {
        match self {
            Self::Port | Self::Socket | Self::Trusted(_) => Peer::Trusted,
            Self::Other(uid) => Peer::Uid(uid),
        }
    }

    pub(super) const fn is_trusted(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port => f.write_str("a client of the port"),
            Self::Socket => f.write_str("a client of the socket"),
            Self::Trusted(uid) | Self::Other(uid) => write!(f, "uid {uid}"),
        }
    }
}

/// The uids that may speak for anybody.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    trusted: Vec<u32>,
}

impl Peers {
    /// Root, the daemon's own user, and these. Asks the user database, which may ask a directory service.
    ///
    /// A name that is not there is no error, for Dovecot may be installed after us; nobody is trusted in its place.
    pub(super) fn new(names: &[String]) -> Self {
        let mut trusted = vec![0, geteuid().as_raw()];
        for name in names {
            match User::from_name(name) {
                Ok(Some(user)) => trusted.push(user.uid.as_raw()),
                Ok(None) => {
                    warn!(peer = %name.escape_debug(), "there is no user `{}`, and so `peers` trusts nobody of that name; restart pushmaild when there is", name.escape_debug());
                }
                Err(error) => {
                    warn!(peer = %name.escape_debug(), %error, "the user `{}` of `peers` cannot be looked up, and is not trusted: {error}", name.escape_debug());
                }
            }
        }
        trusted.sort_unstable();
        trusted.dedup();
        Self { trusted }
    }

    /// The speaker with this uid, as the kernel told it.
    pub(super) fn speaker(&self, uid: u32) -> Speaker {
        if self.trusted.contains(&uid) { Speaker::Trusted(uid) } else { Speaker::Other(uid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_we_ourselves_are_trusted_and_a_name_that_nobody_has_is_not() {
        let peers = Peers::new(&["no such user\n".to_owned(), "daemon".to_owned()]);
        let daemon = User::from_name("daemon").expect("a user database").expect("a user of every Unix");
        for uid in [0, geteuid().as_raw(), daemon.uid.as_raw()] {
            assert_eq!(peers.speaker(uid).peer(), Peer::Trusted, "{uid}");
        }
        for uid in [u32::MAX, 65534, 4_000_000_000] {
            assert_eq!(peers.speaker(uid).peer(), Peer::Uid(uid));
        }
    }
}
