//! Clients of the daemon's socket for plugins.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use crate::{
    Result,
    device::{TOPIC, register_line},
    sample::Sample,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Registers these phones one after the other, and tells how long each had to wait for its answer.
pub(crate) fn one_by_one(socket: &Path, phones: std::ops::Range<u32>) -> Result<Sample> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut waits = Vec::new();
    for number in phones {
        let line = register_line(number);
        let before = Instant::now();
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        waits.push(before.elapsed());
        check(&answer)?;
    }
    Ok(Sample::new(waits))
}

/// Registers these phones through so many connections at a time, of which each waits for its answer before it sends the next.
/// Returns how long it took.
pub(crate) fn many(socket: &Path, connections: u32, phones: std::ops::Range<u32>) -> Result<Duration> {
    let lines: Vec<Vec<String>> = (0..connections)
        .map(|first| {
            phones.clone().skip(first as usize).step_by(connections as usize).map(register_line).collect()
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(tokio::net::UnixStream::connect(socket).await?);
        }
        let before = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for (mut stream, lines) in open.into_iter().zip(lines) {
            clients.spawn(async move {
                let (reader, mut writer) = stream.split();
                let mut answers = tokio::io::BufReader::new(reader);
                let mut answer = String::new();
                for line in lines {
                    writer.write_all(line.as_bytes()).await?;
                    answer.clear();
                    answers.read_line(&mut answer).await?;
                    check(&answer)?;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            });
        }
        let all = async {
            while let Some(client) = clients.join_next().await {
                client??;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        tokio::time::timeout(PATIENCE, all).await.map_err(|_| "not all registrations are answered")??;
        Ok(before.elapsed())
    })
}

/// Says that each of these users has new mail, and waits until all is answered.
pub(crate) fn hint_all(socket: &Path, users: u32) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let answers = BufReader::new(stream.try_clone()?);
    let reader = thread::spawn(move || answers.lines().take(users as usize).filter(|it| it.is_ok()).count());
    let mut lines = String::new();
    for number in 0..users {
        let user = crate::device::user(number);
        lines += &format!(
            "NOTIFY dovecot-username=\"{user}\"\tdovecot-mailbox=\"INBOX\"\tevents=(\"MessageNew\")\r\n"
        );
    }
    stream.write_all(lines.as_bytes())?;
    let answered = reader.join().map_err(|_| "the reader panicked")?;
    if answered == users as usize {
        Ok(())
    } else {
        Err(format!("{answered} of {users} hints are answered").into())
    }
}

fn check(answer: &str) -> Result<()> {
    if answer.trim_end() == format!("OK {TOPIC}") {
        Ok(())
    } else {
        Err(format!("the daemon answers `{answer}`").into())
    }
}
