//! Where one measurement has its files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pushmaild::registry::{Store, sqlite::SqliteStore};
use tempfile::TempDir;

use crate::{Result, device};

/// Registrations that are written in one transaction.
const AT_ONCE: usize = 10_000;

/// Two folders, removed with all that is in them.
pub(crate) struct Site {
    /// Beside the build, on a disk's file system, as mail and a registry are; the usual temporary directory may be a tmpfs.
    disk: TempDir,
    /// In the usual temporary directory, for the path of a socket holds 107 bytes and no more.
    sockets: TempDir,
}

impl Site {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let disk = tempfile::Builder::new().prefix(name).tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        Ok(Self { disk, sockets: tempfile::tempdir()? })
    }

    /// A file or folder on the disk.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// A socket or what has one in it.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.sockets.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.file("registry.db")
    }

    /// The size of the database with all that belongs to it.
    pub(crate) fn database_size(&self) -> u64 {
        let size = |end: &str| fs::metadata(self.file(&format!("registry.db{end}"))).map_or(0, |it| it.len());
        ["", "-wal"].into_iter().map(size).sum()
    }

    /// Makes a registry with these phones, in an order that is none: so they come to a daemon, too.
    pub(crate) fn make_registry(&self, phones: u32) -> Result<()> {
        let mut numbers: Vec<u32> = (0..phones).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut numbers);
        let mut store = SqliteStore::open(&self.database())?;
        for some in numbers.chunks(AT_ONCE) {
            let some = some.iter().map(|&number| device::registration(number)).collect::<Result<Vec<_>>>()?;
            store.transaction(&mut |transaction| some.iter().try_for_each(|it| transaction.put(it)))?;
        }
        Ok(())
    }

    /// Makes the map, with a Maildir for each user, which may or may not be there.
    pub(crate) fn make_map(&self, users: u32) -> Result<()> {
        let line = |user| format!("{}: {}\n", device::user(user), self.maildir(user).display());
        Ok(fs::write(self.file("users"), (0..users).map(line).collect::<String>())?)
    }

    pub(crate) fn maildir(&self, user: u32) -> PathBuf {
        self.file("mail").join(device::user(user))
    }

    /// The configuration of a daemon: Apple and the registry, and a socket for plugins. `more` is appended.
    pub(crate) fn configuration(&self, simulator: &Path, address: &str, more: &str) -> String {
        let [map, database, socket] = [self.file("users"), self.database(), self.xaps()];
        format!(
            r#"
[mailboxes]
map-file = "{}"

[registry]
url = "sqlite:{}"

[listen]
xaps-socket = "{}"

[apns]
certificate = "{credentials}/client.pem"
ca-file = "{credentials}/ca.pem"
endpoint = "https://{address}"

[control]
socket = "{}"

{more}
"#,
            map.display(),
            database.display(),
            socket.display(),
            self.socket("control").display(),
            credentials = simulator.display(),
        )
    }

    /// The socket for plugins.
    pub(crate) fn xaps(&self) -> PathBuf {
        self.socket("xaps")
    }
}
