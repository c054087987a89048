//! A Dovecot that answers doveadm, and nobody else.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::script;
use crate::support::{Site, eventually, patiently};

/// Who Dovecot and the owner of the mail are when the test is root.
pub(super) const NOBODY: (u32, u32) = (65534, 65534);

/// A Dovecot with its own configuration, users and sockets in the folder `auth` of a site. Ended when dropped.
pub(super) struct Server {
    master: Option<Child>,
    dir: PathBuf,
    /// A program that asks this Dovecot.
    pub(super) doveadm: PathBuf,
}

impl Server {
    /// Starts Dovecot with these settings beside those that every one needs.
    pub(super) fn start(site: &Site, settings: &str) -> Self {
        let dir = site.path("auth");
        fs::create_dir(&dir).expect("a directory can be made");
        for open in [site.dir(), &dir] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o711))
                .expect("own directories can be opened");
        }
        let (user, group) =
            if is_root() { ("nobody".into(), "nogroup".into()) } else { (id("-un"), id("-gn")) };
        let here = dir.display();
        let config = format!(
            "base_dir = {here}/run
state_dir = {here}/run
log_path = {here}/log
protocols =
ssl = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
service anvil {{
  chroot =
}}
{settings}
"
        );
        fs::write(dir.join("dovecot.conf"), config).expect("a configuration can be written");
        if is_root() {
            chown(&dir, Some(NOBODY.0), Some(NOBODY.1)).expect("root can give files away");
        }
        let doveadm = script(site, &format!("exec doveadm -c {here}/dovecot.conf \"$@\""));
        let mut server = Self { master: None, dir, doveadm };
        server.resume();
        server
    }

    /// With the users of a passwd-file, and their mail below the folder `mail` of the site.
    pub(super) fn with_users(site: &Site, settings: &str, users: &str) -> Self {
        fs::write(site.path("passwd"), users).expect("a file can be written");
        let file = site.path("passwd");
        let databases = format!(
            "passdb {{\n  driver = passwd-file\n  args = {0}\n}}\nuserdb {{\n  driver = passwd-file\n  args = {0}\n}}\n{settings}",
            file.display()
        );
        Self::start(site, &databases)
    }

    /// Starts Dovecot again.
    pub(super) fn resume(&mut self) {
        let log = self.dir.join("log");
        let errors = File::create(&log).expect("the log can be made");
        if is_root() {
            chown(&log, Some(NOBODY.0), Some(NOBODY.1)).expect("root can give files away");
        }
        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(self.dir.join("dovecot.conf"));
        if is_root() {
            command.uid(NOBODY.0).gid(NOBODY.1);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let mut master = command.spawn().expect("dovecot can be run: is dovecot-core installed?");
        eventually("Dovecot starts", || {
            let ended = master.try_wait().expect("a child can be waited for");
            let log = fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "Dovecot ended with {ended:?}:\n{log}");
            log.contains("starting up").then_some(())
        });
        self.master = Some(master);
    }

    /// Ends Dovecot; doveadm finds nobody then.
    pub(super) fn stop(&mut self) {
        let Some(mut master) = self.master.take() else { return };
        // SIGTERM lets the master end its own children; killed, it would leave them behind.
        let _ = kill_process(Pid::from_child(&master), Signal::TERM);
        if patiently(|| master.try_wait().transpose()).is_none() {
            let _ = master.kill();
            let _ = master.wait();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test")]
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("---- log of Dovecot ----\n{}", self.log());
        }
    }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn id(option: &str) -> String {
    let output = Command::new("id").arg(option).output().expect("id(1) can be run");
    String::from_utf8(output.stdout).expect("names are UTF-8").trim().to_owned()
}
