//! Why a path cannot be reached: names the component that blocks, and what to do.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The first component of a path that is not there, not a directory, or closed to this process.
#[must_use]
pub fn blocking_component(path: &Path) -> Option<(PathBuf, io::ErrorKind)> {
    let mut so_far = PathBuf::new();
    for component in path.components() {
        let parent = so_far.clone();
        so_far.push(component);
        match fs::symlink_metadata(&so_far) {
            Ok(_) => {}
            // Being refused a look at an entry is the fault of the directory that it is in.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Some((parent, error.kind()));
            }
            Err(error) => return Some((so_far, error.kind())),
        }
    }
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Some((path.to_owned(), error.kind()))
        }
        _ => None,
    }
}

/// A hint for an error that a path gave.
#[must_use]
pub fn hint(path: &Path, error: &io::Error) -> String {
    match (error.kind(), blocking_component(path)) {
        (io::ErrorKind::PermissionDenied, Some((component, _))) => {
            let mode = fs::metadata(&component).map_or_else(
                |_| String::new(),
                |found| {
                    format!(
                        " (mode {:04o}, owner {}:{})",
                        found.permissions().mode() & 0o7777,
                        found.uid(),
                        found.gid()
                    )
                },
            );
            format!(
                "`{}`{mode} lets this process not in; under systemd the unit grants CAP_DAC_READ_SEARCH, elsewhere run as the \
                 owner of the mail or add the user to its group",
                component.display()
            )
        }
        (io::ErrorKind::NotFound, Some((component, _))) => {
            format!("`{}` does not exist", component.display())
        }
        (io::ErrorKind::NotADirectory, _) => "a component of the path is a file".to_owned(),
        _ => "see the error above".to_owned(),
    }
}
