//! The main job on real input: a real Dovecot delivers and serves mail, and the datagrams come.
//!
//! Dovecot 2.3 is needed (Debian: `dovecot-imapd`, `dovecot-lmtpd`); a missing one fails the
//! tests. They run it without privileges and beside any other, as root and as anybody else.

mod account;
mod cases;
mod imap;
mod lmtp;
mod scenarios;
mod server;
mod table;

pub(crate) use self::server::Dovecot;
