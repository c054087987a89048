//! As much of the Redis protocol, version 2, as two commands take that only read: `SCAN` and `SMEMBERS`.

use std::io::{self, BufRead, Read, Write};

use super::RedisError;
use crate::registry::import::shown;

/// The most bytes of a line, and of a key or a member: far beyond what the daemon writes.
const MAX_LINE: u64 = 64 * 1024;
const MAX_BULK: usize = 1024 * 1024;
/// `SCAN` has a list in a list.
const DEPTH: usize = 4;

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// A word, a number or a text.
    Text(Vec<u8>),
    Nothing,
    Error(String),
    List(Vec<Answer>),
}

/// What is in a set.
type Members = Vec<Vec<u8>>;

/// The end of the connection that asks.
pub(super) struct Client<W, R> {
    pub(super) questions: W,
    pub(super) answers: R,
}

impl<W: Write, R: BufRead> Client<W, R> {
    fn ask(&mut self, question: &[&[u8]]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", question.len()).into_bytes();
        for word in question {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.questions.write_all(&bytes)
    }

    pub(super) fn ok(&mut self, question: &[&[u8]]) -> Result<(), RedisError> {
        self.ask(question)?;
        match answer(&mut self.answers, 0)? {
            Answer::Error(said) => Err(RedisError::Refused(said)),
            _ => Ok(()),
        }
    }

    /// The members of many sets. A key that is something else is an error of its own.
    pub(super) fn members(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Result<Members, String>>, RedisError> {
        for key in keys {
            self.ask(&[b"SMEMBERS", key])?;
        }
        let mut all = Vec::with_capacity(keys.len());
        for _ in keys {
            all.push(match answer(&mut self.answers, 0)? {
                Answer::List(members) => Ok(members
                    .into_iter()
                    .filter_map(|member| if let Answer::Text(member) = member { Some(member) } else { None })
                    .collect()),
                Answer::Error(said) if said.starts_with("WRONGTYPE") => {
                    Err("the key is not a set".to_owned())
                }
                Answer::Error(said) => return Err(RedisError::Refused(said)),
                Answer::Text(_) | Answer::Nothing => return Err(RedisError::Protocol),
            });
        }
        Ok(all)
    }

    /// All keys like this. The server may tell one twice.
    pub(super) fn keys(&mut self, pattern: &str) -> Result<Vec<Vec<u8>>, RedisError> {
        let mut cursor = b"0".to_vec();
        let mut keys = Vec::new();
        loop {
            self.ask(&[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", b"1000"])?;
            match answer(&mut self.answers, 0)? {
                Answer::Error(said) => return Err(RedisError::Refused(said)),
                Answer::List(parts) => match <[Answer; 2]>::try_from(parts) {
                    Ok([Answer::Text(next), Answer::List(found)]) => {
                        keys.extend(found.into_iter().filter_map(|key| match key {
                            Answer::Text(key) => Some(key),
                            _ => None,
                        }));
                        cursor = next;
                    }
                    _ => return Err(RedisError::Protocol),
                },
                Answer::Text(_) | Answer::Nothing => return Err(RedisError::Protocol),
            }
            if cursor == b"0" {
                break;
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

/// Reads one answer of the Redis protocol, version 2. Nothing is reserved for what a server only says that it will send.
fn answer(from: &mut impl BufRead, depth: usize) -> Result<Answer, RedisError> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    let line = match line.strip_suffix(b"\r\n") {
        Some(line) => line,
        None if line.is_empty() => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        None => return Err(RedisError::Protocol),
    };
    let (kind, rest) = line.split_first().ok_or(RedisError::Protocol)?;
    let count = || {
        let text = std::str::from_utf8(rest).map_err(|_| RedisError::Protocol)?;
        text.parse::<i64>().map(|count| usize::try_from(count).ok()).map_err(|_| RedisError::Protocol)
    };
    match kind {
        b'+' | b':' => Ok(Answer::Text(rest.to_vec())),
        b'-' => Ok(Answer::Error(shown(&String::from_utf8_lossy(rest)))),
        b'$' => {
            let Some(length) = count()? else { return Ok(Answer::Nothing) };
            if length > MAX_BULK {
                return Err(RedisError::Protocol);
            }
            let mut text = vec![0; length + 2];
            from.read_exact(&mut text)?;
            text.truncate(length);
            Ok(Answer::Text(text))
        }
        b'*' if depth < DEPTH => {
            let Some(length) = count()? else { return Ok(Answer::Nothing) };
            let mut list = Vec::new();
            for _ in 0..length {
                list.push(answer(from, depth + 1)?);
            }
            Ok(Answer::List(list))
        }
        _ => Err(RedisError::Protocol),
    }
}

/// For the fuzz target: how many bytes of text an answer brings. None if it is none.
pub(crate) fn bytes_of_answer(mut data: &[u8]) -> Option<usize> {
    fn bytes(answer: &Answer) -> usize {
        match answer {
            Answer::Text(text) => text.len(),
            Answer::List(list) => list.iter().map(bytes).sum(),
            Answer::Error(_) | Answer::Nothing => 0,
        }
    }
    answer(&mut data, 0).ok().as_ref().map(bytes)
}
