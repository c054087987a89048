//! The integration tests: the real binary, with real files and sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod apns;
mod backends;
mod bad_input;
mod commands;
mod control;
mod crash;
mod credentials;
mod devices;
mod doctor;
mod documents;
mod doveadm;
mod dovecot;
mod exec;
mod fanotify;
mod faults;
mod lifecycle;
mod listeners;
/// The load tool's library.
#[path = "../../examples/load/play/mod.rs"]
mod load;
mod load_tool;
mod logs;
mod os_x_server;
mod packaging;
mod planner;
mod pure;
mod records;
mod registry;
mod simulator;
mod support;
mod unusual_names;
