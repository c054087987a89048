//! Where a credential is.

use std::path::{Path, PathBuf};

/// Where a credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialFiles {
    /// A certificate with its private key.
    Certificate {
        /// The certificate with its chain, and the key if that has no file of its own.
        certificate: PathBuf,
        /// The key.
        key: Option<PathBuf>,
        /// The password of whichever is encrypted.
        password_file: Option<PathBuf>,
    },
    /// A key that signs provider tokens.
    Token {
        /// The key, as Apple gives it: `AuthKey_….p8`.
        key_file: PathBuf,
        /// The key's number.
        key_id: String,
        /// The number of the developer team.
        team_id: String,
    },
}

impl CredentialFiles {
    /// All files: when one of them changes, it is time to load again.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let (first, second, third) = match self {
            Self::Certificate { certificate, key, password_file } => {
                (certificate, key.as_deref(), password_file.as_deref())
            }
            Self::Token { key_file, .. } => (key_file, None, None),
        };
        [Some(first.as_path()), second, third].into_iter().flatten()
    }
}
