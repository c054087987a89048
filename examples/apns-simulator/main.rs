//! A simulator of Apple's push service (APNs), to develop and to test against: no phone, no account and
//! no network are needed, and it fails in the ways in which the real one does, on command.
//!
//! It speaks HTTP/2 over TLS on a port of the loopback interface, makes credentials of every kind (a
//! certificate as Apple issues it, a key for provider tokens, and some that must not work), judges each
//! request by [Apple's rules](https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns)
//! with Apple's statuses and reasons, and prints one JSON object for each request. Faults are ordered through
//! a Unix socket: see [`command`].
//!
//! It shares no code with the daemon, so that a misreading of Apple's documents in one is not repeated by
//! the other. Run it with `--help` for an example.
//!
//! ```text
//! listener ─→ gate (freeze) ─→ TLS ─→ frames (GOAWAY, SETTINGS) ─→ h2 ─→ connection ─→ rules ─→ journal
//! control ──→ command ──→ faults, port, journal
//! ```

mod answer;
mod certificates;
mod command;
mod connection;
mod control;
mod credentials;
mod faults;
mod frames;
mod gate;
mod identity;
mod journal;
mod listener;
mod options;
mod provider_token;
mod request;
mod rules;
mod server;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    control::Control,
    credentials::{Credentials, KEY_ID, TEAM_ID},
    listener::Port,
    options::Options,
    server::Server,
};

/// What ends the program early; a person reads it.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "apns-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Failure> {
    // One thread: a push is less work than a hop to another.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &options.tell {
            Some(command) => control::tell(&options.dir, command).await,
            None => simulate(options).await,
        }
    })
}

async fn simulate(options: Options) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    // The socket first: it tells whether another simulator works with these credentials.
    let control = Control::bind(&options.dir)?;
    let credentials = Credentials::load_or_make(&options.dir, &options.topic)?;
    let (port, accepting) = Port::open(options.listen)?;
    let server = Arc::new(Server::new(&options, &credentials)?);
    announce(&options, &port)?;

    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = accepting.serve(Arc::clone(&server)) => ended,
        ended = control.serve(server, port) => ended,
    }
}

fn announce(options: &Options, port: &Port) -> io::Result<()> {
    let dir = options.dir.display();
    writeln!(io::stderr(), "topic {}, key {KEY_ID} of team {TEAM_ID} in {dir}/AuthKey.p8", options.topic)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on https://{}; credentials in {dir}", port.address())?;
    stdout.flush()
}
