//! A temporary mail server: one directory with the Maildirs, the sockets and the configuration.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Config, Daemon, Launch, Maildir, Receiver};

/// A directory of its own for one test, removed with all that is in it when dropped.
///
/// ```text
/// push_notify               the socket that the daemon sends to, bound by receiver()
/// pushmaild.toml            written by launch() and start()
/// vmail/DOMAIN/LOCAL/Maildir
/// ```
pub(crate) struct Site {
    dir: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        // A short prefix: the path of a Unix socket has at most 107 bytes, and 103 on macOS.
        let dir =
            tempfile::Builder::new().prefix("pmd-").tempdir().expect("a temporary directory can be made");
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the site's directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the daemon sends to.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("push_notify")
    }

    /// Binds the socket that the daemon sends to.
    pub(crate) fn receiver(&self) -> Receiver {
        Receiver::bind(self.socket())
    }

    /// Dovecot's `mail_location` for the users of this site.
    pub(crate) fn mail_location(&self) -> String {
        format!("maildir:{}/vmail/%d/%n/Maildir", self.dir().display())
    }

    /// Where the Maildir of `user`, as `local@domain`, is or would be.
    pub(crate) fn maildir_path(&self, user: &str) -> PathBuf {
        let (local, domain) = user.split_once('@').expect("users of a site have the form local@domain");
        self.path("vmail").join(domain).join(local).join("Maildir")
    }

    /// Makes the Maildir of `user`, as `local@domain`.
    pub(crate) fn maildir(&self, user: &str) -> Maildir {
        Maildir::create(self.maildir_path(user))
    }

    /// The configuration that most tests run with: this site's Maildirs and socket, and debounce
    /// times that are short but far enough apart to be told from each other.
    pub(crate) fn config(&self) -> Config {
        let socket = self.socket();
        Config::empty(self.path("pushmaild.toml"))
            .set("mailboxes.mail-location", &self.mail_location())
            .set("debounce.new-mail-interval", "100ms")
            .set("debounce.change-quiet", "300ms")
            .set("debounce.change-max-wait", "2s")
            .set("registry.url", "sqlite:pushmaild.db")
            .set("control.socket", "control.sock")
            .set("push-notify.socket", &socket.to_string_lossy())
            .set("push-notify.dialect", "osx-10.8")
    }

    /// Prepares a daemon with this configuration.
    pub(crate) fn launch(&self, config: &Config) -> Launch {
        Launch::new(self.dir(), config)
    }

    /// Starts a daemon with this configuration and waits until it says that it is ready.
    #[track_caller]
    pub(crate) fn start(&self, config: &Config) -> Daemon {
        self.launch(config).start()
    }
}
