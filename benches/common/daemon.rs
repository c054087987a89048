//! The real daemon in a process of its own.

use std::{
    fs::{self, File},
    io,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Result, site::Site};

const READY_WITHIN: Duration = Duration::from_secs(120);
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// A running daemon. Ends with the value.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    /// From before it was started until it said that it is ready.
    pub(crate) start: Duration,
}

impl Daemon {
    /// Starts it, and waits until it is ready. `log` is the level of its log, which goes to a file.
    pub(crate) fn start(site: &Site, configuration: &str, log: &str) -> Result<Self> {
        let config = site.file("pushmaild.toml");
        fs::write(&config, configuration)?;
        let ready_path = site.socket("ready");
        // Of a daemon before.
        let _ = fs::remove_file(&ready_path);
        let ready = UnixDatagram::bind(&ready_path)?;
        ready.set_read_timeout(Some(Duration::from_millis(100)))?;
        let path = site.file("log");
        let output = File::create(&path)?;
        let before = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_pushmaild"))
            .arg("run")
            .arg("-c")
            .arg(&config)
            .env("NOTIFY_SOCKET", &ready_path)
            .env("PUSHMAILD_LOG", log)
            .env_remove("JOURNAL_STREAM")
            .env_remove("RUNTIME_DIRECTORY")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut daemon = Self { child, log: path, start: Duration::ZERO };
        daemon.wait_until_ready(&ready, before)?;
        Ok(daemon)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }

    fn wait_until_ready(&mut self, ready: &UnixDatagram, before: Instant) -> Result<()> {
        let mut message = [0; 4096];
        loop {
            match ready.recv(&mut message) {
                Ok(length)
                    if message[..length].split(|&byte| byte == b'\n').any(|line| line == b"READY=1") =>
                {
                    self.start = before.elapsed();
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the daemon ended early, {status}:\n{}", self.log()).into());
            }
            if before.elapsed() > READY_WITHIN {
                return Err(
                    format!("the daemon is not ready within {READY_WITHIN:?}:\n{}", self.log()).into()
                );
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            let pid = Pid::from_raw(self.child.id().try_into()?).ok_or("no process has the number 0")?;
            kill_process(pid, Signal::TERM)?;
            let asked = Instant::now();
            while self.child.try_wait()?.is_none() {
                if asked.elapsed() > ENDS_WITHIN {
                    self.child.kill()?;
                    self.child.wait()?;
                    return Err(format!("the daemon did not end:\n{}", self.log()).into());
                }
                crate::pause(Duration::from_millis(10));
            }
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            crate::progress(&error.to_string());
        }
    }
}
