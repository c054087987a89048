//! A file system for a million mailboxes: ext4 in a file, with blocks of 1 kB, for each of three million directories takes a block. On a
//! disk's own file system that would be 12 GB, and on a tmpfs names of directories are longer than on a disk, which is memory too.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::{Result, system::available_memory};

/// Says that this process is the one in the namespace.
const INSIDE: &str = "PUSHMAILD_SCALE_IN_NAMESPACE";
/// The directories of a million mailboxes, and some.
const INODES: &str = "3300000";
const BYTES: u64 = 6_000_000_000;
/// With so much memory to spare the image lies in it: half of this is the image, and most of the rest is what the kernel caches of it.
const MEMORY: u64 = 14_000_000_000;

/// Begins this program anew in a mount namespace of its own: what is mounted there goes with it, however it ends. Nothing for who is not
/// root, and so cannot mount anything.
pub(crate) fn enter_namespace() -> Result<()> {
    if !geteuid().is_root() || std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let error = Command::new("unshare")
        .arg("--mount")
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(format!("cannot run unshare: {error}\nhint: apt-get install util-linux").into())
}

/// A file system that is mounted for this process and those that it starts.
pub(crate) struct Image {
    mounted: TempDir,
}

impl Image {
    /// Mounts an image, made in memory if there is enough of it, else in this folder. One that is to be kept is in the folder, and may be
    /// there already. None without the rights.
    pub(crate) fn mount(folder: &Path, keep: bool) -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let tmpfs = Path::new("/dev/shm");
        let is_in_memory = !keep && tmpfs.is_dir() && available_memory()? >= MEMORY;
        let in_memory = is_in_memory.then(|| tempfile::tempdir_in(tmpfs)).transpose()?;
        let folder = in_memory.as_ref().map_or(folder, TempDir::path);
        let file = folder.join("million.ext4");
        if !file.exists() {
            File::create(&file)?.set_len(BYTES)?;
            run(Command::new("mkfs.ext4")
                .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
                .args(["-q", "-b", "1024", "-N", INODES, "-O", "^has_journal"])
                .arg(&file))?;
        }
        let mounted = tempfile::tempdir()?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&file).arg(mounted.path()))?;
        // For as long as it is mounted it needs no name.
        if !keep {
            fs::remove_file(file)?;
        }
        Ok(Some(Self { mounted }))
    }

    pub(crate) fn path(&self) -> &Path {
        self.mounted.path()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(self.mounted.path())) {
            crate::progress(&error.to_string());
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end()).into())
}
