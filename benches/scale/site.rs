//! Where one measurement has its files, and the daemon's configuration there.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Result, mailboxes::Mailboxes, system::Backend};

/// Those whose registries have all records.
pub(crate) type Sites = HashMap<(Backend, usize), Site>;

/// Two folders, removed with all that is in them.
pub(crate) struct Site {
    /// Beside the build, on a disk's file system, as a registry is; the usual temporary directory may be a tmpfs.
    disk: TempDir,
    /// In the usual temporary directory, for the path of a socket holds 107 bytes and no more.
    sockets: TempDir,
}

impl Site {
    pub(crate) fn new() -> Result<Self> {
        let disk = tempfile::Builder::new().prefix("scale").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        Ok(Self { disk, sockets: tempfile::tempdir()? })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.disk.path()
    }

    pub(crate) fn sockets(&self) -> &Path {
        self.sockets.path()
    }

    /// A file or folder on the disk.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// A socket.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.sockets.path().join(name)
    }

    /// What the daemon sends to.
    pub(crate) fn push_notify(&self) -> PathBuf {
        self.socket("push_notify")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.file("registry.db")
    }

    /// The daemon's configuration. The sweep comes when the one who measures wants it, or not at all (`"off"`).
    pub(crate) fn configuration(&self, mailboxes: &Mailboxes<'_>, backend: Backend, sweep: &str) -> String {
        let [map, database, socket] = [mailboxes.map_file(), self.database(), self.push_notify()];
        format!(
            r#"
[mailboxes]
map-file = "{}"

[watch]
backend = "{}"
sweep-interval = "{sweep}"

[registry]
url = "sqlite:{}"

[push-notify]
socket = "{}"
dialect = "osx-10.8"

[control]
socket = "{}"
"#,
            map.display(),
            backend.as_str(),
            database.display(),
            socket.display(),
            socket.with_extension("control").display(),
        )
    }
}
