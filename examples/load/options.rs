//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::play::Mix;

/// A mail server's load, and a look at who is told of it.
#[derive(Debug, Parser)]
#[command(name = "load", max_term_width = 100, after_help = EXAMPLE)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make mailboxes in DIR, and a configuration for the daemon
    Make(MakeOptions),
    /// Let things happen to the mailboxes in DIR, and check that each user is told
    Run(RunOptions),
}

#[derive(Args, Debug)]
pub(crate) struct MakeOptions {
    /// Where all is kept; what is there already is used
    pub(crate) dir: PathBuf,
    /// How many mailboxes
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..10_000_000))]
    pub(crate) users: u32,
    /// How many messages a new mailbox has at first
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) messages: usize,
    /// How many threads make them [default: twice as many as there are CPUs]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct RunOptions {
    /// The folder that `make` has made
    pub(crate) dir: PathBuf,
    /// How many events a second; 0 for as many as can be
    #[arg(long, value_name = "N", default_value_t = 200.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// How long to go on
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) time: Duration,
    /// How many events, in the place of a time
    #[arg(long, value_name = "N")]
    pub(crate) events: Option<u64>,
    /// What happens how often: deliver, link (a delivery by link), open, read, flag, expunge, move
    #[arg(long, value_name = "ACTION=WEIGHT,…", default_value_t = Mix::default())]
    pub(crate) mix: Mix,
    /// How uneven the users are: Zipf's exponent, 0 for all alike, 1 for a few very busy ones
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.7, value_parser = exponent)]
    pub(crate) skew: f64,
    /// How many messages a mailbox has at most
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) room: u16,
    /// The same seed means the same events [default: drawn, and printed]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How long to wait for the last pushes
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
    /// The socket that the daemon sends to, a datagram socket [default: DIR/push_notify]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const EXAMPLE: &str = "\
Example, with the daemon in one terminal:
  $ cargo run --release --example load -- make /tmp/load --users 10000
  $ cargo run --release -- run -c /tmp/load/pushmaild.toml
and what happens to the mailboxes in another, as the same user of the system:
  $ cargo run --release --example load -- run /tmp/load --rate 500 --for 1m

The exit status is 1 if somebody was not told. Kill the daemon meanwhile and start it again, or stop it with
SIGSTOP for a while: that must not make a difference, if it runs again when the load ends.

In DIR:
  mail/            example.org/aq/aq000042/Maildir and so on
  pushmaild.toml   a configuration for the daemon; one that is there is left as it is
  push_notify      the socket, while `run` runs";

fn rate(argument: &str) -> Result<f64, String> {
    number(argument, 1e7)
}

fn exponent(argument: &str) -> Result<f64, String> {
    number(argument, 3.0)
}

fn number(argument: &str, most: f64) -> Result<f64, String> {
    match argument.parse() {
        Ok(number) if (0.0..=most).contains(&number) => Ok(number),
        _ => Err(format!("not a number from 0 to {most}")),
    }
}
