//! A Dovecot of the test's own: IMAP on a loopback port, LMTP on a Unix socket.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::account::Account;
use super::imap::Imap;
use super::lmtp::Lmtp;
use crate::support::{Maildir, Site, eventually, patiently};

/// The password of every user; which users there are is decided by who is asked for.
pub(super) const PASSWORD: &str = "secret";

/// A running Dovecot, which keeps the mail of a [`Site`] and ends when dropped.
pub(crate) struct Dovecot {
    master: Child,
    imap: SocketAddr,
    lmtp: PathBuf,
    log: PathBuf,
    account: Account,
}

impl Dovecot {
    /// Starts Dovecot on the Maildirs of `site` and waits until it serves both protocols.
    pub(crate) fn start(site: &Site) -> Self {
        let account = Account::unprivileged();
        // The site is private to the test, and Dovecot may be somebody else.
        let traversable = fs::Permissions::from_mode(0o711);
        fs::set_permissions(site.dir(), traversable).expect("own directories can be opened");
        for dir in ["dovecot", "vmail"] {
            let dir = site.path(dir);
            fs::create_dir_all(&dir).expect("a directory can be made");
            account.give(&dir);
        }

        // Dovecot cannot choose a free port itself, so one is looked up and might be taken by
        // somebody else before Dovecot binds it.
        for _ in 0..10 {
            let mut dovecot = Self::spawn(&site.path("dovecot"), site, account.clone());
            if dovecot.wait_ready() {
                return dovecot;
            }
        }
        panic!("ten free ports were all taken by somebody else");
    }

    fn spawn(dir: &Path, site: &Site, account: Account) -> Self {
        let imap = free_port();
        let config = dir.join("dovecot.conf");
        let log = dir.join("log");
        let text = config_text(dir, &site.mail_location(), imap.port(), &account);
        fs::write(&config, text).expect("Dovecot's configuration can be written");

        let mut command = Command::new("dovecot");
        command.arg("-F").arg("-c").arg(&config);
        if rustix::process::geteuid().is_root() {
            command.uid(account.uid).gid(account.gid);
        }
        // Debian keeps it in sbin, which is not in the path of everybody.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // What is wrong with the configuration is said before there is a log.
        let errors = File::create(&log).expect("the log can be made");
        account.give(&log);
        command.stderr(errors);
        let master = command.spawn();
        let master = master.expect("dovecot can be run: are dovecot-imapd and -lmtpd installed?");
        Self { master, imap, lmtp: dir.join("run/lmtp"), log, account }
    }

    /// Waits until all listeners are bound; false when the port was taken.
    fn wait_ready(&mut self) -> bool {
        eventually("Dovecot starts", || {
            let ended = self.master.try_wait().expect("a child can be waited for");
            let log = self.log();
            match ended {
                // Said after the last listen(2), and better than to connect: a connection to a
                // port that was taken would be accepted too.
                None => log.contains("starting up for").then_some(true),
                Some(_) if log.contains("Address already in use") => Some(false),
                Some(status) => panic!("Dovecot ended with {status}:\n{log}"),
            }
        })
    }

    /// A new client of `user`, logged in.
    pub(crate) fn imap(&self, user: &str) -> Imap {
        let stream = TcpStream::connect(self.imap).expect("Dovecot accepts connections");
        Imap::login(stream, user, PASSWORD)
    }

    /// A new LMTP session.
    pub(crate) fn lmtp(&self) -> Lmtp {
        let stream = UnixStream::connect(&self.lmtp).expect("Dovecot accepts connections");
        Lmtp::start(stream)
    }

    /// Delivers one message to `user`.
    pub(crate) fn deliver(&self, user: &str) {
        self.lmtp().deliver(user);
    }

    /// Makes the Maildir of `user` the way Dovecot does when it is first asked for one.
    pub(crate) fn create_maildir(&self, site: &Site, user: &str) -> Maildir {
        self.imap(user).run("STATUS INBOX (MESSAGES)");
        let maildir = Maildir::at(site.maildir_path(user));
        assert!(maildir.path("new").is_dir(), "Dovecot makes the Maildir");
        maildir
    }

    /// Makes the directory that the Maildir of `user` will be in, as a script that adds users would.
    pub(crate) fn create_home(&self, site: &Site, user: &str) {
        let maildir = site.maildir_path(user);
        let home = maildir.parent().expect("a Maildir is in a directory");
        fs::create_dir(home).expect("a directory can be made");
        self.account.give(home);
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    #[expect(clippy::print_stderr, reason = "the test harness shows it with the failed test")]
    fn drop(&mut self) {
        // SIGTERM lets the master end its own children; killed, it would leave them behind.
        let _ = kill_process(Pid::from_child(&self.master), Signal::TERM);
        let ended = patiently(|| self.master.try_wait().transpose());
        if ended.is_none() {
            let _ = self.master.kill();
            let _ = self.master.wait();
        }
        if thread::panicking() {
            eprintln!("---- log of Dovecot ----\n{}", self.log());
        }
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("loopback has a free port")
}

fn config_text(dir: &Path, mail_location: &str, imap_port: u16, account: &Account) -> String {
    let dir = dir.display();
    let Account { user, group, uid, gid } = account;
    format!(
        "base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no

# Everything as one account. Without root there is no changing it, and no chroot.
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = {uid}
first_valid_gid = {gid}

mail_location = {mail_location}
auth_username_format = %Lu
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={dir}/home/%u allow_all_users=yes
}}

service imap-login {{
  chroot =
  # One process for all logins.
  service_count = 0
  process_limit = 1
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0600
  }}
}}
"
    )
}
