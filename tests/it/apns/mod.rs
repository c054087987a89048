//! The sink for Apple under everything that Apple and the network do to it.
//!
//! Most of it runs in memory and on a clock that stands still while anything happens: an hour of an outage takes a moment.
//! The rest (`daemon.rs`) is the whole daemon against the simulator, over TLS.

mod accounts;
mod apple;
mod circuit;
mod daemon;
mod desk;
mod devices;
mod faults;
mod life;
#[cfg(target_os = "linux")]
mod outage;
mod post;
mod verdicts;
mod wire;
