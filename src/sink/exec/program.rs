//! Is the program there, and may it be run?

use std::{
    env, fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::command::Command;
use crate::path_access;

/// Why the program cannot be started, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Finds the program as a start would.
///
/// # Errors
/// If it is not there, no file, or may not be run.
pub fn find(program: &Path) -> Result<PathBuf, Unusable> {
    if Command::is_looked_up(program) {
        let folders = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&folders)
            .map(|folder| folder.join(program))
            .find(|candidate| may_run(candidate).is_ok());
        return found.ok_or_else(|| Unusable {
            message: format!("the program `{}` of [exec] is not in PATH", program.display()),
            hint: format!("write its whole path; PATH is `{}`", folders.to_string_lossy()),
        });
    }
    may_run(program).map(|()| program.to_owned()).map_err(|error| Unusable {
        message: format!("the program `{}` of [exec] cannot be run: {error}", program.display()),
        hint: hint(program, &error),
    })
}

/// What to do about a program that cannot be started.
#[must_use]
pub fn hint(program: &Path, error: &io::Error) -> String {
    if Command::is_looked_up(program) {
        return "is it installed? Its whole path is found whatever PATH is".to_owned();
    }
    match (error.kind(), may_run(program)) {
        // It is there, and so what is missing is what it names.
        (io::ErrorKind::NotFound, Ok(())) => {
            format!("its interpreter is missing: what is in its first line?{}", interpreter(program))
        }
        (io::ErrorKind::PermissionDenied, _) if path_access::blocking_component(program).is_none() => {
            format!("`chmod 755 {}`, on a file system that is not mounted noexec", program.display())
        }
        (io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory, _) => "name a program".to_owned(),
        (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied, _) => path_access::hint(program, error),
        (io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory, _) => {
            "too many processes, or too little memory: see TasksMax= of the unit, and `ulimit -u`".to_owned()
        }
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => {
            "a script begins with a line such as `#!/bin/sh`".to_owned()
        }
        _ => "see the error above".to_owned(),
    }
}

fn may_run(program: &Path) -> io::Result<()> {
    let found = fs::metadata(program)?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(access(program, Access::EXEC_OK)?)
}

/// What a script names as the program that reads it.
fn interpreter(program: &Path) -> String {
    let mut start = [0; 128];
    let read = fs::File::open(program).and_then(|mut file| io::Read::read(&mut file, &mut start));
    let line = start[..read.unwrap_or(0)].split(|byte| *byte == b'\n').next().unwrap_or_default();
    match line.strip_prefix(b"#!") {
        Some(name) => {
            format!(" `{}`", std::ffi::OsStr::from_bytes(name).display().to_string().escape_debug())
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_in_path_and_ones_that_are_not_to_be_run() {
        assert!(find(Path::new("sh")).is_ok_and(|found| found.is_absolute()));
        let missing = find(Path::new("no-such-program-anywhere")).expect_err("it is nowhere");
        assert!(missing.message.contains("not in PATH"), "{missing:?}");
        let site = tempfile::tempdir().expect("a folder");
        let file = site.path().join("on-mail");
        let says = |path: &Path| find(path).expect_err("it cannot be run").hint;
        assert!(says(&file).contains("does not exist"), "{}", says(&file));
        fs::write(&file, "#!/bin/sh\n").expect("a file");
        assert!(says(&file).contains("chmod 755"), "{}", says(&file));
        assert!(says(site.path()).contains("name a program"), "{}", says(site.path()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a mode");
        assert_eq!(find(&file), Ok(file));
    }
}
