//! Those who are measured: how each is built, started, found ready and ended.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::{
    Result,
    cpu::Tree,
    maildirs::{Maildirs, user_of},
    pause, progress,
};

const READY_WITHIN: Duration = Duration::from_secs(20);
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How long one [`Rival::receive`] waits.
const RECEIVE_WAITS: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    C,
    Inotify,
    Notify,
    Shell,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::C, Self::Inotify, Self::Notify, Self::Shell];

    /// Is it pushmaild?
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Inotify | Self::Notify)
    }

    fn directory(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Inotify => "inotify",
            Self::Notify => "notify",
            Self::Shell => "shell",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::C => "C, inotify and sendto",
            Self::Inotify => "pushmaild, inotify",
            Self::Notify => "pushmaild, notify",
            Self::Shell => "inotifywait and a shell loop",
        })
    }
}

/// What the rivals need from outside.
pub(crate) struct Tools {
    /// The C program, which is also what the shell loop sends with.
    inotify_send: PathBuf,
}

impl Tools {
    /// Compiles what is to be compiled, and looks for the rest now rather than in the middle of the run.
    pub(crate) fn build(directory: &Path) -> Result<Self> {
        let inotify_send = directory.join("inotify_send");
        let status = Command::new("cc")
            .args(["-O2", "-Wall", "-o"])
            .arg(&inotify_send)
            .arg(source("inotify_send.c"))
            .status()
            .map_err(|error| format!("cannot run cc: {error}\nhint: apt-get install gcc libc6-dev"))?;
        if !status.success() {
            return Err("cc did not compile inotify_send.c".into());
        }
        Command::new("inotifywait").arg("--help").output().map_err(|error| {
            format!("cannot run inotifywait: {error}\nhint: apt-get install inotify-tools")
        })?;
        Ok(Self { inotify_send })
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(name)
}

/// A running process, its Maildirs, and the socket that it sends to. Ends with the value.
pub(crate) struct Rival {
    kind: Kind,
    pub(crate) maildirs: Maildirs,
    socket: UnixDatagram,
    log: PathBuf,
    child: Child,
}

impl Rival {
    /// Starts it and waits until its watches are armed.
    pub(crate) fn start(
        kind: Kind,
        tools: &Tools,
        disk: &Path,
        sockets: &Path,
        users: usize,
    ) -> Result<Self> {
        let directory = disk.join(kind.directory());
        let maildirs = Maildirs::create(directory.join("mail"), users)?;
        let map = directory.join("users");
        maildirs.write_map(&map)?;
        let socket_path = sockets.join(kind.directory());
        let socket = UnixDatagram::bind(&socket_path)?;
        socket.set_read_timeout(Some(RECEIVE_WAITS))?;
        let ready_path = sockets.join(format!("{}.ready", kind.directory()));
        let ready = UnixDatagram::bind(&ready_path)?;
        ready.set_nonblocking(true)?;

        let mut command = match kind {
            Kind::C => {
                let mut command = Command::new(&tools.inotify_send);
                command.arg(&socket_path).arg(&map);
                command
            }
            Kind::Inotify | Kind::Notify => {
                let config = directory.join("pushmaild.toml");
                fs::write(&config, configuration(kind, &map, &socket_path))?;
                let mut command = Command::new(env!("CARGO_BIN_EXE_pushmaild"));
                command.arg("run").arg("-c").arg(&config);
                command.env("NOTIFY_SOCKET", &ready_path).env("PUSHMAILD_LOG", "warn");
                command
            }
            Kind::Shell => {
                let list = directory.join("list");
                maildirs.write_list(&list)?;
                let mut command = Command::new(source("inotifywait.sh"));
                command.arg(&tools.inotify_send).arg(&socket_path).arg(&list);
                command
            }
        };
        let log = directory.join("log");
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);

        let child = command.spawn()?;
        let mut rival = Self { kind, maildirs, socket, log, child };
        rival.wait_until_ready(&ready)?;
        Ok(rival)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What it has written to stdout and stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }

    /// The user whom the next datagram names, or `None` after [`RECEIVE_WAITS`] without one.
    pub(crate) fn receive(&self) -> Result<Option<usize>> {
        let mut record = [0; 2048]; // longer than a record, so that one that is too long is seen to be
        match self.socket.recv(&mut record) {
            Ok(length) => user_of(&record[..length]).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.tree()?.cpu_time()
    }

    fn wait_until_ready(&mut self, ready: &UnixDatagram) -> Result<()> {
        let start = Instant::now();
        while !self.is_ready(ready)? {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended early, {status}:\n{}", self.log()).into());
            }
            if start.elapsed() > READY_WITHIN {
                return Err(format!("not ready within {READY_WITHIN:?}:\n{}", self.log()).into());
            }
            pause(Duration::from_millis(10));
        }
        Ok(())
    }

    fn is_ready(&self, ready: &UnixDatagram) -> Result<bool> {
        match self.kind {
            Kind::C => Ok(self.log().contains("watching")),
            Kind::Shell => Ok(self.log().contains("Watches established.")),
            Kind::Inotify | Kind::Notify => {
                let mut message = [0; 4096];
                match ready.recv(&mut message) {
                    Ok(length) => {
                        Ok(message[..length].split(|&byte| byte == b'\n').any(|line| line == b"READY=1"))
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    fn tree(&self) -> Result<Tree> {
        let pid = Pid::from_raw(self.child.id().try_into()?).ok_or("no process has the number 0")?;
        Ok(Tree::new(pid))
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(()); // the number may belong to another process by now
        }
        for signal in [Signal::TERM, Signal::KILL] {
            self.tree()?.signal(signal)?;
            let asked = Instant::now();
            while asked.elapsed() < ENDS_WITHIN {
                if self.child.try_wait()?.is_some() {
                    return Ok(());
                }
                pause(Duration::from_millis(10));
            }
        }
        Err("does not end".into())
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            progress(&format!("{}: {error}", self.kind));
        }
    }
}

/// The debouncer's interval stays at its default: each of the single deliveries is for another user, and so the
/// first after a quiet time, which is to be pushed at once.
fn configuration(kind: Kind, map: &Path, socket: &Path) -> String {
    format!(
        r#"
[mailboxes]
map-file = "{}"

[watch]
backend = "{}"

[debounce]
new-mail-interval = "2s"

[push-notify]
socket = "{}"
dialect = "osx-10.8"

[registry]
url = "sqlite:pushmaild.db"

[control]
socket = "{}"
"#,
        map.display(),
        if kind == Kind::Notify { "notify" } else { "inotify" },
        socket.display(),
        socket.with_extension("control").display(),
    )
}
