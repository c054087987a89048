//! The integration tests: the real binary, with real files and sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod dovecot;
mod packaging;
mod pure;
mod support;
