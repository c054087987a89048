//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Does it hold a million mailboxes? Tables on stdout, progress on stderr.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench scale --")]
pub(crate) struct Options {
    /// All of it with little, to see that it works; the figures mean little
    #[arg(long)]
    pub(crate) quick: bool,
    /// Also the start with cold caches, as root: drops what the system has cached, which slows everybody down
    #[arg(long)]
    pub(crate) cold: bool,
    /// Make the mailboxes in DIR and leave them there for the next run, which takes 6 GB; without it they go at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Measure only this; may be repeated
    #[arg(long, value_enum)]
    only: Vec<Only>,
    /// cargo bench says so to each benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// Start, and memory after it
    Start,
    /// A look at all mailboxes, also after an overflow
    Rescan,
    /// The start with cold caches
    Cold,
    /// A receiver that does not read
    Stalled,
    /// Deliveries as fast as can be
    Burst,
    /// Deliveries one at a time
    Delivery,
}

impl Options {
    pub(crate) fn wants(&self, what: Only) -> bool {
        match what {
            Only::Cold => self.cold || self.only.contains(&what),
            _ => self.only.is_empty() || self.only.contains(&what),
        }
    }
}
