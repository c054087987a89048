//! The example programs that tests run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// An example program. Cargo builds examples along with all tests, but not for `--test it`: then it is built here.
pub(crate) fn example(name: &str) -> PathBuf {
    let profile_dir = Path::new(env!("CARGO_BIN_EXE_pushmaild")).parent().expect("a file is in a folder");
    let program = profile_dir.join("examples").join(name);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    if modified(&program).is_none_or(|built| newest(&sources) > Some(built)) {
        let profile = profile_dir.file_name().and_then(|name| name.to_str()).expect("a profile has a name");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--example", name, "--profile"])
            .arg(if profile == "debug" { "dev" } else { profile })
            .arg("--target-dir")
            .arg(profile_dir.parent().expect("profiles are in the target folder"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|status| status.success()), "{name} cannot be built");
    }
    program
}

fn newest(sources: &Path) -> Option<SystemTime> {
    let files = walkdir::WalkDir::new(sources).into_iter().filter_map(Result::ok);
    files.filter(|file| file.file_type().is_file()).filter_map(|file| modified(file.path())).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
