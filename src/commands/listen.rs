//! `pushmaild listen SOCKET`: the other end of push_notify, for tests and demonstrations.

use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, Interest},
    net::{UnixDatagram, UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::output;
use crate::{
    cli::ListenArgs,
    exit_code::Exit,
    proto::push_notify::{Arrival, Dialect, MAX_RECORD, Message},
    unix_socket::{self, Access, BindError},
};

/// Connections served at a time; the next ones wait in the socket's backlog.
const CONNECTIONS: usize = 64;
/// How long a connection may take to send its record.
const PATIENCE: Duration = Duration::from_secs(10);

/// One record, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    dialect: Dialect,
    message: &'static str,
    user: &'a str,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailbox: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subtopic: Option<&'a str>,
}

pub(super) fn run(arguments: &ListenArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::failure(Exit::Failed, format_args!("cannot start: {error}"), ""),
    };
    runtime.block_on(async {
        match listen(arguments).await {
            Ok(()) => Exit::Good,
            Err(Failure::Bind(error)) => output::failure(Exit::Failed, &error, error.hint()),
            Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Good,
            Err(Failure::Io(error)) => output::failure(Exit::Failed, error, ""),
        }
    })
}

enum Failure {
    Bind(BindError),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn listen(arguments: &ListenArgs) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    if arguments.stream {
        let (listener, _path) =
            unix_socket::bind_stream(&arguments.socket, Access::default()).map_err(Failure::Bind)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        announce(arguments)?;
        tokio::select! {
            () = stop => Ok(()),
            ended = streams(&listener, arguments.json) => ended.map_err(Failure::Io),
        }
    } else {
        let (socket, _path) =
            unix_socket::bind_datagram(&arguments.socket, Access::default()).map_err(Failure::Bind)?;
        socket.set_nonblocking(true)?;
        let socket = UnixDatagram::from_std(socket)?;
        announce(arguments)?;
        tokio::select! {
            () = stop => Ok(()),
            ended = datagrams(&socket, arguments.json) => ended.map_err(Failure::Io),
        }
    }
}

fn announce(arguments: &ListenArgs) -> io::Result<()> {
    // On stderr, so that stdout has records only.
    let kind = if arguments.stream { "connections" } else { "datagrams" };
    writeln!(io::stderr(), "listening for {kind} on {}", arguments.socket.display())
}

async fn datagrams(socket: &UnixDatagram, json: bool) -> io::Result<()> {
    let mut buffer = vec![0; MAX_RECORD + 1];
    loop {
        let bytes = socket.async_io(Interest::READABLE, || socket.try_recv(&mut buffer)).await?;
        print(&buffer[..bytes], Arrival::Datagram, json)?;
    }
}

async fn streams(listener: &UnixListener, json: bool) -> io::Result<()> {
    let (sender, mut records) = mpsc::channel(CONNECTIONS);
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let sender = sender.clone();
                let Ok(permit) = std::sync::Arc::clone(&permits).acquire_owned().await else { return Ok(()) };
                tokio::spawn(async move {
                    if let Ok(Ok(record)) = tokio::time::timeout(PATIENCE, read_record(stream)).await {
                        // The receiver lives as long as this loop.
                        let _ = sender.send(record).await;
                    }
                    drop(permit);
                });
            }
            Some(record) = records.recv() => print(&record, Arrival::Stream, json)?,
        }
    }
}

/// All that a connection brings, but no more than a record can have.
async fn read_record(stream: UnixStream) -> io::Result<Vec<u8>> {
    let mut record = Vec::new();
    stream.take(MAX_RECORD as u64 + 1).read_to_end(&mut record).await?;
    Ok(record)
}

fn print(bytes: &[u8], arrival: Arrival, json: bool) -> io::Result<()> {
    let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    let (dialect, message) = match Message::decode(bytes, arrival) {
        Ok(decoded) => decoded,
        Err(error) => return writeln!(io::stderr(), "{time}  refused: {error}"),
    };
    let mut line = Line {
        time,
        dialect,
        message: message.name(),
        user: message.user(),
        bytes: bytes.len(),
        mailbox: None,
        account_id: None,
        device_token: None,
        subtopic: None,
    };
    match message {
        Message::Create { .. } => {}
        Message::Notify { mailbox, .. } => line.mailbox = mailbox,
        Message::Register { account_id, device_token, subtopic, .. } => {
            (line.account_id, line.device_token, line.subtopic) =
                (Some(account_id), Some(device_token), Some(subtopic));
        }
        Message::Subscribe { account_id, device_token, mailbox, .. } => {
            (line.account_id, line.device_token, line.mailbox) =
                (Some(account_id), Some(device_token), Some(mailbox));
        }
    }
    let mut stdout = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut stdout, &line)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{}  {:9} {}", line.time, line.message, line.user.escape_debug())?;
        for (key, value) in [
            ("mailbox", line.mailbox),
            ("account", line.account_id),
            ("device", line.device_token),
            ("subtopic", line.subtopic),
        ] {
            if let Some(value) = value {
                write!(stdout, "  {key}={}", value.escape_debug())?;
            }
        }
        writeln!(stdout, "  ({}, {} bytes)", line.dialect, line.bytes)?;
    }
    stdout.flush()
}
