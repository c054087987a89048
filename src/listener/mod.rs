//! What Dovecot's plugins and their like bring: registrations of devices, and hints that something happened to a mailbox.
//!
//! Everything here runs on the network thread. A client is answered within milliseconds, for it waits inside a user's IMAP session;
//! what takes longer happens afterwards.

pub mod intake;
