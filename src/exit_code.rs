//! How a command ends.

use std::process::{ExitCode, Termination};

/// The exit statuses of every command. Wrong arguments are 2, which clap sees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: good.
    Good,
    /// 1: failed, or valid but it cannot work here.
    Failed,
    /// 78, `EX_CONFIG` of sysexits.h: the configuration file is invalid.
    BadConfig,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        match self {
            Self::Good => ExitCode::SUCCESS,
            Self::Failed => ExitCode::FAILURE,
            Self::BadConfig => ExitCode::from(78),
        }
    }
}
