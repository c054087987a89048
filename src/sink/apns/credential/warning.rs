//! What works, but should not be as it is.

use std::path::PathBuf;

use thiserror::Error;

/// Something about a credential that works, but should not be as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Warning {
    /// A key that is not encrypted, or a password.
    #[error("everybody on this machine can read the secret in `{}`", .0.display())]
    ReadableByAll(PathBuf),
    /// Apple's numbers of keys and teams have ten characters.
    #[error("this does not look like one of Apple's {name}s, which are ten letters and digits: `{value}`")]
    OddId {
        /// The key in the configuration.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl Warning {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::ReadableByAll(path) => {
                format!("`chgrp pushmaild {0} && chmod 640 {0}`", path.display())
            }
            Self::OddId { .. } => "see Keys and Membership at developer.apple.com/account".to_owned(),
        }
    }
}
