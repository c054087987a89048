//! What a commit has to wait for, whoever makes it: a page written over an older one, as SQLite writes its log, and fdatasync(2).

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
    process::Command,
    time::Instant,
};

use crate::{Result, sample::Sample};

/// A page of SQLite's with the head that it has in the WAL.
const PAGE: [u8; 4096 + 24] = [1; 4096 + 24];

/// Pages of the file: those of the log, before SQLite begins at its start again.
const PAGES: u32 = 1000;

/// So many times, in this folder.
pub(crate) fn measure(folder: &Path, times: u32) -> Result<Sample> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    for _ in 0..PAGES {
        file.write_all(&PAGE)?;
    }
    file.sync_all()?;
    let mut all = Vec::new();
    for time in 0..times {
        if time % PAGES == 0 {
            file.seek(SeekFrom::Start(0))?;
        }
        let before = Instant::now();
        file.write_all(&PAGE)?;
        file.sync_data()?;
        all.push(before.elapsed());
    }
    fs::remove_file(path)?;
    Ok(Sample::new(all))
}

/// The kind of file system that a folder is on.
pub(crate) fn file_system(folder: &Path) -> String {
    let found = Command::new("findmnt").args(["-n", "-o", "FSTYPE", "-T"]).arg(folder).output();
    let name = found.ok().and_then(|it| String::from_utf8(it.stdout).ok());
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or("a file system".to_owned())
}
