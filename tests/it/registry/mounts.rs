//! The daemon on file systems that are full or read-only, in a mount namespace of its own: what clients, the log and the disk have.

use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{fs, io};

use pushmaild::registry::service::PATIENCE;
use pushmaild::registry::sqlite::SqliteStore;
use rustix::process::Signal;

use super::{Client, SLACK, config, users};
use crate::support::{Daemon, Site, eventually};

/// Runs `script` in namespaces where it may mount something, and then the daemon, with "$@".
fn after_mounting(script: &str) -> [String; 8] {
    let script = format!("{script} && exec \"$@\"");
    ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"].map(ToOwned::to_owned)
}

/// Runs a command where the daemon is.
#[track_caller]
fn beside(daemon: &Daemon, command: &[&str]) {
    let pid = daemon.pid().to_string();
    let status = Command::new("nsenter").args(["--user", "--mount", "--target", &pid]).args(command).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}");
}

/// Registers, and fails if the answer takes longer than it may.
#[track_caller]
fn register_in_time(client: &mut Client, user: &str) {
    let start = Instant::now();
    client.register(user);
    assert!(start.elapsed() < PATIENCE + SLACK, "{user}: {:?}", start.elapsed());
}

/// The lines of the log with an error, each of which has to have a hint.
#[track_caller]
fn errors(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let errors: Vec<_> = log
        .lines()
        .filter(|line| line.contains("the registry cannot be used"))
        .map(ToOwned::to_owned)
        .collect();
    assert!(errors.iter().all(|line| line.contains("hint: ")), "{errors:?}");
    errors
}

#[test]
fn a_full_disk() {
    let site = Site::new();
    let (folder, run) = (site.path("db"), site.path("run"));
    for folder in [&folder, &run] {
        fs::create_dir(folder).expect("a folder can be made");
    }
    let filler = folder.join("filler");
    let script = format!(
        "mount -t tmpfs -o size=1m tmpfs '{}' && head -c 600000 /dev/zero > '{}'",
        folder.display(),
        filler.display()
    );
    let config = config(&site, &folder.join("registry.db"));
    let launch = site.launch(&config).wrapped_in(after_mounting(&script)).env("RUNTIME_DIRECTORY", &run);
    let daemon = launch.start();
    let spill = run.join("registry.db.spill");
    let mut client = Client::connect(&site);
    let mut count = 0;
    while !spill.exists() {
        assert!(count < 1000, "it is never full");
        register_in_time(&mut client, &format!("user{count}"));
        count += 1;
    }
    // It stays full: all who come are answered, and kept.
    for _ in 0..50 {
        register_in_time(&mut client, &format!("user{count}"));
        count += 1;
    }
    daemon.wait_log("the disk is full: make room");
    assert!(spill.exists());

    beside(&daemon, &["rm", &filler.to_string_lossy()]);
    daemon.wait_log("the registry is complete again");
    daemon.wait_log("the registry can be written again");
    eventually("no spill file", || (!spill.exists()).then_some(()));
    register_in_time(&mut client, "after");
    assert_eq!(errors(&daemon).len(), 1, "each trouble is told once: {:#?}", errors(&daemon));

    // What is in there goes with the daemon.
    beside(&daemon, &["cp", "-r", &folder.to_string_lossy(), &site.path("copy").to_string_lossy()]);
    let mut store = SqliteStore::open(&site.path("copy/registry.db")).expect("good");
    assert_eq!(users(&mut store).len(), count + 1);
    daemon.stop();
}

/// As after an error of the disk's, or where the administrator has forgotten a mount option.
#[test]
fn a_read_only_disk() {
    let site = Site::new();
    let (folder, run) = (site.path("db"), site.path("run"));
    for folder in [&folder, &run] {
        fs::create_dir(folder).expect("a folder can be made");
    }
    let database = folder.join("registry.db");
    let here = folder.display();
    let script = format!("mount --bind '{here}' '{here}' && mount -o remount,bind,ro '{here}'");
    for is_there in [false, true] {
        let config = config(&site, &database);
        let launch = site.launch(&config).wrapped_in(after_mounting(&script)).env("RUNTIME_DIRECTORY", &run);
        let daemon = launch.start();
        let mut client = Client::connect(&site);
        for number in 0..3 {
            register_in_time(&mut client, &format!("user{is_there}{number}"));
        }
        daemon.wait_log("must be able to write to");
        assert_eq!(errors(&daemon).len(), 1, "{:#?}", errors(&daemon));
        // Not even a kill is the end of what was answered.
        assert!(run.join("registry.db.spill").exists());
        daemon.signal(Signal::KILL);
        drop(daemon);

        let daemon =
            site.launch(&config).wrapped_in(after_mounting(&script)).env("RUNTIME_DIRECTORY", &run).start();
        let mut client = Client::connect(&site);
        register_in_time(&mut client, &format!("user{is_there}3"));
        beside(&daemon, &["mount", "-o", "remount,bind,rw", &folder.to_string_lossy()]);
        daemon.wait_log("the registry is complete again");
        daemon.stop();
        assert_spill_is_gone(&run);
        let count = if is_there { 8 } else { 4 };
        assert_eq!(users(&mut SqliteStore::open(&database).expect("good")).len(), count);
    }
}

#[track_caller]
fn assert_spill_is_gone(run: &Path) {
    let left = fs::metadata(run.join("registry.db.spill"));
    assert!(left.is_err_and(|error| error.kind() == io::ErrorKind::NotFound), "all of it is written");
}
