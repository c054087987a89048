//! The socket for commands: a line in, a line of JSON out.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::{self, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{Failure, command, credentials, listener::Port, server::Server};

const NAME: &str = "control";
/// No command is nearly as long.
const LONGEST_LINE: u64 = 64 * 1024;

/// The socket, bound. Dropped, its file is removed.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Makes the folder if needed, and binds the socket in it. One of a simulator that has crashed is replaced.
    pub(crate) fn bind(dir: &Path) -> Result<Self, Failure> {
        credentials::make_folder(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let path = dir.join(NAME);
        if unix::net::UnixStream::connect(&path).is_ok() {
            return Err(format!("another simulator runs in {}", dir.display()).into());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let listener =
            UnixListener::bind(&path).map_err(|error| format!("cannot bind {}: {error}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Obeys for ever.
    pub(crate) async fn serve(self, server: Arc<Server>, port: Port) -> Result<(), Failure> {
        let port = Arc::new(port);
        loop {
            let (stream, _) = self.listener.accept().await?;
            let (server, port) = (Arc::clone(&server), Arc::clone(&port));
            tokio::spawn(async move {
                // An error: the other end has gone, or is no client of ours.
                let _ = converse(stream, &server, &port).await;
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // If it stays, the next start replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

async fn converse(mut stream: UnixStream, server: &Server, port: &Port) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        if (&mut read).take(LONGEST_LINE).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut answer = command::obey(&line, server, port).await.to_string();
        answer.push('\n');
        write.write_all(answer.as_bytes()).await?;
    }
}

/// Gives one command to the simulator that runs in this folder, and prints the answer.
pub(crate) async fn tell(dir: &Path, command: &str) -> Result<(), Failure> {
    let path = dir.join(NAME);
    let mut stream = UnixStream::connect(&path)
        .await
        .map_err(|error| format!("no simulator runs in {}: {error}", dir.display()))?;
    let line = command.split_whitespace().collect::<Vec<_>>().join(" ");
    stream.write_all(line.as_bytes()).await?;
    stream.write_all(b"\n").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;

    let answer: Value = serde_json::from_str(&answer)?;
    if let Some(error) = answer["error"].as_str() {
        let commands = answer["commands"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let list: Vec<String> = commands.map(|command| format!("\n  {command}")).collect();
        return Err(format!("{error}\ncommands:{}", list.concat()).into());
    }
    writeln!(io::stdout(), "{answer}")?;
    Ok(())
}
