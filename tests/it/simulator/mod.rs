//! The simulator of Apple's push service, tried by clients that share no code with it or with the daemon: curl,
//! nghttp, h2load and openssl. A test that relies on the simulator relies on these.

mod clients;
mod commands;
mod connections;
mod credentials;
mod provider_tokens;
mod rules;
mod streams;

use crate::support::{Apns, Site};

/// The topic of the simulator's certificate.
const TOPIC: &str = "com.apple.mobilemail.push.example";
/// A device like many.
const TOKEN: &str = "0A1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";

fn apns(site: &Site) -> Apns {
    Apns::start(site.path("apns"))
}
