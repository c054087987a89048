//! pushmaild watches Maildirs, understands what changed, gathers bursts, and makes the phones look.
//!
//! Data flows one way, with one type between neighbours:
//!
//! ```text
//! config → MailboxMap → watcher ─WatchEvent→ classifier ─Kind→ debouncer ─MailboxReady→ sink
//!                                      listener ─Change→ registry ←look-up─ sink::apns ─┘
//! ```
//!
//! `maildir`, `classifier`, `debouncer`, `proto`, `backoff` and the grammar parts of `mailbox` are pure: no I/O, and time is a
//! parameter. ARCHITECTURE.md walks through a delivery, a reload and an overflow.

pub mod allocator;
pub mod backoff;
pub mod capabilities;
pub mod classifier;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
mod count;
pub mod daemon;
pub mod debouncer;
pub mod exit_code;
#[doc(hidden)]
pub mod fuzzing;
mod growth;
pub mod handover;
pub mod instance_lock;
pub mod listener;
pub mod logging;
pub mod mailbox;
pub mod maildir;
pub mod path_access;
pub mod plain;
pub mod planner;
pub mod proto;
pub mod registry;
pub mod service_manager;
pub mod sink;
pub mod stamp;
pub mod unix_socket;
pub mod watcher;
