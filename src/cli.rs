//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::DEFAULT_PATH;

/// Makes iPhones look at their mail: for new mail, and when mail is read, flagged or deleted elsewhere.
#[derive(Debug, Parser)]
#[command(name = "pushmaild", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    #[command(
        after_help = "Signals: SIGTERM and SIGINT push what is pending and stop; SIGHUP reloads the configuration.\n\
                            Environment: PUSHMAILD_LOG sets the log filter, for example `debug` or `pushmaild=trace`."
    )]
    Run(ConfigArgs),
    /// Say whether the configuration is right, and whether it will work here
    Check {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// List the users with their Maildirs, as the daemon would see them
    Users {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Push to users now, through the push_notify socket
    Send {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// The users
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
    /// Push to each of a user's devices now, through Apple, and print the answers
    Push {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// The user
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Bind a push_notify socket and print what arrives
    Listen(ListenArgs),
}

/// Which configuration.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
}

/// What `listen` is told.
#[derive(Args, Debug)]
pub struct ListenArgs {
    /// The path to bind; a stale socket there is replaced
    pub socket: PathBuf,
    /// Listen on a stream socket, for the dialect `argon`
    #[arg(long)]
    pub stream: bool,
    /// Print one JSON object for each record
    #[arg(long)]
    pub json: bool,
}
