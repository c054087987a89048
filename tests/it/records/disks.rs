//! The database on a disk that is full or read-only for a while, in a mount namespace that outlives the daemons.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{config, old_mailbox, recorded};
use crate::support::{Config, Daemon, Maildir, Site, eventually};

const ARRIVAL: &str = "arrival@example.org";
const READER: &str = "reader@example.org";

/// Namespaces in which a disk is mounted. Gone with the process that holds them.
struct Disk {
    holder: Child,
    folder: PathBuf,
}

impl Disk {
    /// Mounts by a script, to which the folder is `$1`.
    #[track_caller]
    fn mount(site: &Site, script: &str) -> Self {
        let folder = site.path("disk");
        fs::create_dir(&folder).expect("a folder can be made");
        let script = format!("{script} && touch \"$2\" && exec sleep 300");
        let ready = site.path("is-mounted");
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-ec", &script, "sh"])
            .args([&folder, &ready])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare is there");
        let disk = Self { holder, folder };
        eventually("a mount", || ready.exists().then_some(()));
        disk
    }

    fn nsenter(&self) -> [String; 5] {
        let pid = self.holder.id().to_string();
        ["nsenter", "--user", "--mount", "--target", &pid].map(ToOwned::to_owned)
    }

    /// Runs a script where the disk is.
    #[track_caller]
    fn tell(&self, script: &str) {
        let [nsenter, arguments @ ..] = self.nsenter();
        let status = Command::new(nsenter)
            .args(arguments)
            .args(["sh", "-ec", script, "sh"])
            .arg(&self.folder)
            .status()
            .expect("nsenter is there");
        assert!(status.success(), "{script}: {status}");
    }

    fn config(&self, site: &Site) -> Config {
        config(site).set("registry.url", &format!("sqlite:{}/registry.db", self.folder.display()))
    }

    fn start(&self, site: &Site) -> Daemon {
        site.launch(&self.config(site))
            .wrapped_in(self.nsenter())
            .env("RUNTIME_DIRECTORY", site.dir())
            .start()
    }

    /// Waits until the mailboxes have records, as a copy of the database has it.
    #[track_caller]
    fn wait_recorded(&self, maildirs: &[&Maildir]) {
        let copy = self.folder.with_file_name("copy");
        let is_recorded = || {
            self.tell(
                "mkdir -p \"$1/../copy\" && rm -f \"$1/../copy/\"* && cp \"$1/registry.db\"* \"$1/../copy\"",
            );
            let found = recorded(&copy.join("registry.db"), |is_told| is_told)?;
            let is_there = |it: &&&Maildir| found.contains(it.root().as_os_str().as_encoded_bytes());
            (maildirs.iter().filter(is_there).count() == maildirs.len()).then_some(())
        };
        eventually("records", is_recorded);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What a start finds on a disk that takes nothing, and what is lost of it: nothing, once the disk takes something again.
fn is_survived(mount: &str, spoil: &str, hint: &str, mend: &str) {
    let site = Site::new();
    let disk = Disk::mount(&site, mount);
    let (arrival, _) = old_mailbox(&site, ARRIVAL);
    let (reader, message) = old_mailbox(&site, READER);
    let receiver = site.receiver();
    disk.start(&site).stop();

    disk.tell(spoil);
    reader.set_flags(&message, "S");
    let daemon = disk.start(&site);
    arrival.deliver();
    receiver.read_until(ARRIVAL);
    daemon.wait_log(hint);
    disk.tell(mend);
    daemon.wait_log("the registry can be written again");
    // The arrival was told, and its record could not be stored. The reader is told by the record that could be read or not until now.
    daemon.wait_log(&format!("pushed {READER}"));
    disk.wait_recorded(&[&arrival, &reader]);
    let log = daemon.stop();
    // Each trouble once; one disk can have several.
    let errors: Vec<_> =
        log.split('\n').filter_map(|line| line.split_once("the registry cannot be used")).collect();
    let texts: BTreeSet<_> = errors.iter().map(|(_, text)| text).collect();
    assert!(!texts.is_empty() && texts.len() == errors.len(), "{errors:#?}");

    receiver.drain();
    reader.set_flags(&message, "");
    let _daemon = disk.start(&site);
    receiver.read_until(READER);
}

#[test]
fn a_full_one() {
    is_survived(
        "mount -t tmpfs -o size=2m tmpfs \"$1\"",
        "head -c 4000000 /dev/zero > \"$1/filler\" 2>/dev/null || true",
        "the disk is full: make room",
        "rm \"$1/filler\"",
    );
}

#[test]
fn a_read_only_one() {
    is_survived(
        "mount --bind \"$1\" \"$1\"",
        "mount -o remount,bind,ro \"$1\"",
        "must be able to write to",
        "mount -o remount,bind,rw \"$1\"",
    );
}

/// Full while the daemon runs: what is told then is stored later.
#[test]
fn one_that_fills_up() {
    let site = Site::new();
    let disk = Disk::mount(&site, "mount -t tmpfs -o size=2m tmpfs \"$1\"");
    let (arrival, message) = old_mailbox(&site, ARRIVAL);
    let receiver = site.receiver();
    let daemon = disk.start(&site);
    disk.wait_recorded(&[&arrival]);
    disk.tell("head -c 4000000 /dev/zero > \"$1/filler\" 2>/dev/null || true");
    arrival.deliver();
    receiver.expect(ARRIVAL);
    // One record fits into pages that are there; many do not.
    receiver.read_during(|| {
        for number in 0..500 {
            old_mailbox(&site, &format!("user-{number}@example.net"));
        }
        daemon.wait_log("the disk is full: make room");
        disk.tell("rm \"$1/filler\"");
        daemon.wait_log("the registry can be written again");
        let last = Maildir::at(site.maildir_path("user-499@example.net"));
        disk.wait_recorded(&[&arrival, &last]);
    });
    receiver.read_during(|| {
        daemon.stop();
    });
    receiver.drain();
    arrival.set_flags(&message, "S");
    let _daemon = disk.start(&site);
    receiver.read_until(ARRIVAL);
}
