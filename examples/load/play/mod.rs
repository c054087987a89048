//! The part of the load tool that tests use as well: many mailboxes, what a mail server does to them, and who was told of it.
//!
//! ```text
//! Tree ─→ Player ─changed(user, when)→ Ledger ←told(user, when)─ Listener
//!           │ └ Mix: what, Skew: to whom
//!           └→ Mailbox: the files
//! ```
//!
//! Nothing here knows the daemon, which may be stopped, killed and started again meanwhile by whoever likes to.
#![allow(dead_code, reason = "tests use more of it than the program does, and the program what they do not")]

mod ledger;
mod listener;
mod mailbox;
mod mix;
mod pace;
mod player;
mod skew;
mod tree;

pub(crate) use self::{
    ledger::{Ledger, Moment},
    listener::Listener,
    mix::{Action, Mix},
    pace::Pace,
    player::Player,
    tree::Tree,
};
