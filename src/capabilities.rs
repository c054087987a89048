//! What the programs that the daemon starts may do: no more than anybody.

use std::io;

/// Sees to it that programs started from now on get none of this process's capabilities. The process keeps its own.
///
/// A service manager gives them by way of the ambient set, which is what a program inherits, and so do threads: this has to come before the
/// first one. Whoever is root gives all that root has, as ever.
///
/// # Errors
/// If the system refuses, which it does not.
#[cfg(target_os = "linux")]
pub fn keep_from_children() -> io::Result<()> {
    Ok(rustix::thread::clear_ambient_capability_set()?)
}

/// Other systems have no capabilities.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn keep_from_children() -> io::Result<()> {
    Ok(())
}
