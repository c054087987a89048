//! The commands, one file each.

mod apple;
mod check;
mod devices;
mod doctor;
mod fold;
mod listen;
mod output;
mod push;
mod send;
mod status;
mod users;

use std::path::Path;

use crate::{
    cli::{Cli, Command, ConfigArgs},
    config::{Config, ConfigError},
    daemon::{self, DaemonError},
    exit_code::Exit,
    logging,
};

/// Runs the command that was asked for.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    match cli.command {
        Command::Run(config) => run_daemon(&config),
        Command::Check { config, json } => check::run(&config.config, json),
        Command::Users { config, json } => users::run(&config.config, json),
        Command::Push { config, user, json } => push::run(&config.config, &user, json),
        Command::Send { config, users } => send::run(&config.config, &users),
        Command::Status { config, json, watch } => status::run(&config.config, json, watch),
        Command::Doctor { config, json, user } => doctor::run(&config.config, user.as_ref(), json),
        Command::Listen(arguments) => listen::run(&arguments),
        Command::Devices { command } => devices::run(command),
    }
}

fn run_daemon(ConfigArgs { config }: &ConfigArgs) -> Exit {
    if let Err(message) = logging::init() {
        return output::failure(Exit::Failed, &message, "write it as `info`, `debug` or `pushmaild=trace`");
    }
    match daemon::run(config) {
        Ok(()) => Exit::Good,
        Err(error) => {
            let exit = match &error {
                DaemonError::Config(_) | DaemonError::NoSink(_) => Exit::BadConfig,
                // A line of the map file is as much configuration as a line of the main file.
                DaemonError::Source(crate::mailbox::source::SourceError::MapFile { .. }) => Exit::BadConfig,
                _ => Exit::Failed,
            };
            output::failure(exit, &error, error.hint())
        }
    }
}

/// Loads the configuration, or says what is wrong with it.
fn load(path: &Path) -> Result<Config, Exit> {
    Config::load(path).map_err(|error: ConfigError| output::failure(Exit::BadConfig, &error, error.hint()))
}
