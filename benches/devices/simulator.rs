//! The simulator of APNs in a process of its own.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::{Result, site::Site};

/// How long an answer may take, `wait` included: a run in which a push is lost ends here.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running simulator. Ends with the value.
pub(crate) struct Simulator {
    child: Child,
    /// The credentials.
    pub(crate) folder: PathBuf,
    /// `ADDRESS:PORT`
    pub(crate) address: String,
    /// A line for each request, unless it is quiet.
    pub(crate) lines: Option<BufReader<ChildStdout>>,
}

/// Cargo builds examples along with tests, and not with benchmarks.
pub(crate) fn build() -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "bench", "--example", "apns-simulator", "--target-dir"])
        .arg(profile().parent().ok_or("profiles are in the target folder")?)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if status.success() { Ok(()) } else { Err("the simulator cannot be built".into()) }
}

/// The folder of the profile that this was built with, which is the one of releases.
fn profile() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pushmaild")).parent().unwrap_or(Path::new(""))
}

impl Simulator {
    pub(crate) fn start(site: &Site, arguments: &[&str]) -> Result<Self> {
        let folder = site.socket("apns");
        let mut child = Command::new(profile().join("examples/apns-simulator"))
            .arg("--dir")
            .arg(&folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("stdout is piped")?);
        let mut ready = String::new();
        lines.read_line(&mut ready)?;
        let address = ready.strip_prefix("listening on https://").and_then(|rest| rest.split(';').next());
        let address = address.ok_or("the simulator does not start")?.to_owned();
        Ok(Self { child, folder, address, lines: Some(lines) })
    }

    /// Gives a command and returns the answer. It is done when this returns.
    pub(crate) fn tell(&self, command: &str) -> Result<serde_json::Value> {
        let mut socket = UnixStream::connect(self.folder.join("control"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).map_err(|error| format!("`{command}`: {error}"))?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        match answer.get("error") {
            Some(error) => Err(format!("the simulator refuses `{command}`: {error}").into()),
            None => Ok(answer),
        }
    }

    /// How many phones have had a push that was accepted.
    pub(crate) fn tokens(&self) -> Result<u64> {
        self.tell("stats")?["tokens"].as_u64().ok_or_else(|| "no stats".into())
    }

    /// The addresses of pushes to these phones, a line each, as h2load reads them.
    pub(crate) fn urls(&self, phones: u32) -> String {
        (0..phones).fold(String::new(), |mut all, number| {
            let _ = writeln!(all, "https://{}/3/device/{}", self.address, crate::device::token(number));
            all
        })
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
