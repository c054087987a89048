//! The C program that does the least: see `benches/directories.c`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use crate::{Result, mailboxes::Mailboxes, pause, progress};

const TRIES: usize = 5;
const BETWEEN_TRIES: Duration = Duration::from_secs(3);

/// What it does to each directory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// `inotify_add_watch`, without a look at the directory.
    Watch,
    /// `statx`.
    Statx,
    /// The one and then the other.
    Both,
}

/// What that took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// The compiled program.
pub(crate) struct Directories(PathBuf);

impl Directories {
    pub(crate) fn compile(folder: &Path) -> Result<Self> {
        let program = folder.join("directories");
        let status = Command::new("cc")
            .args(["-O2", "-Wall", "-o"])
            .arg(&program)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/directories.c"))
            .status()
            .map_err(|error| format!("cannot run cc: {error}\nhint: apt-get install gcc libc6-dev"))?;
        if status.success() { Ok(Self(program)) } else { Err("cc did not compile directories.c".into()) }
    }

    /// Runs it over these mailboxes. Its watches are gone when it ends.
    pub(crate) fn run(&self, call: Call, mailboxes: &Mailboxes<'_>) -> Result<Took> {
        let name = match call {
            Call::Watch => "watch",
            Call::Statx => "statx",
            Call::Both => "both",
        };
        let mut output = self.output(name, mailboxes)?;
        for _ in 0..TRIES {
            let error = String::from_utf8_lossy(&output.stderr);
            if output.status.success() {
                break;
            }
            // What inotify says when the limit of watches is reached, which all programs share.
            if !error.contains("No space left on device") {
                break;
            }
            progress("others have taken watches; trying again");
            pause(BETWEEN_TRIES);
            output = self.output(name, mailboxes)?;
        }
        if !output.status.success() {
            return Err(format!("directories {name}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let mut numbers = text.split_whitespace();
        let mut next = || -> Result<f64> { Ok(numbers.next().ok_or("a number is missing")?.parse()?) };
        let (count, wall, cpu) = (next()?, next()?, next()?);
        if count != mailboxes.directories() as f64 {
            return Err(format!("directories {name}: {count} of {}", mailboxes.directories()).into());
        }
        Ok(Took { wall: Duration::from_secs_f64(wall), cpu: Duration::from_secs_f64(cpu) })
    }

    fn output(&self, name: &str, mailboxes: &Mailboxes<'_>) -> Result<Output> {
        Ok(Command::new(&self.0).arg(name).arg(mailboxes.list()).output()?)
    }
}
