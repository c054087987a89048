//! The map file: a line `user: /path/to/Maildir` for each user, and comments after `#`. Pure.

use std::{
    hash::BuildHasher,
    io::{self, Read},
    path::Path,
};

use hashbrown::{HashTable, hash_table};
use rustc_hash::FxBuildHasher;
use thiserror::Error;

use super::{Username, UsernameError};

/// The file is kept in pieces of about this size, which go one by one while the map grows.
const PIECE: usize = 256 * 1024;

/// A line of the map file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Before the colon, as written. Good as a [`Username`].
    pub user: &'a str,
    /// After the colon.
    pub maildir: &'a Path,
}

/// A file without a wrong line.
#[derive(Clone, Debug)]
pub struct MapFile {
    /// Whole lines, so that none is in two pieces.
    pieces: Vec<Vec<u8>>,
    /// Does the last line end? If not, somebody may be writing the file just now.
    pub is_complete: bool,
}

/// Why a map file cannot be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The first line that is wrong: half a map would silently leave users without pushes.
    #[error(transparent)]
    Line(#[from] MapFileError),
}

/// A line that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{problem}")]
pub struct MapFileError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// No `user:`.
    #[error("no `user:` before the path")]
    NoUser,
    /// Not a name.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// Nothing after the colon.
    #[error("no path after the user")]
    NoPath,
    /// A path that depends on where somebody stands.
    #[error("the path `{}` is not absolute", .0.escape_debug())]
    Relative(String),
    /// The same user with another Maildir.
    #[error("the user `{user}` is in line {first} already, with another Maildir")]
    Twice {
        /// The name.
        user: Username,
        /// The line that has it, too.
        first: usize,
    },
    /// Bytes that are no text.
    #[error("the line is not UTF-8")]
    NotText,
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoUser | Self::NoPath | Self::Username(_) => {
                "write a line as `jesse: /var/vmail/jesse/Maildir`"
            }
            Self::Relative(_) => "write the path from the root, as in `/var/vmail/jesse/Maildir`",
            Self::Twice { .. } => "remove one of the two lines",
            Self::NotText => "save the file as UTF-8",
        }
    }
}

impl MapFile {
    /// Reads a map file.
    ///
    /// # Errors
    /// If it cannot be read, or has a line that is wrong.
    pub fn read(from: impl Read) -> Result<Self, ReadError> {
        let pieces = pieces(from)?;
        check(&pieces)?;
        let is_complete = pieces.last().is_some_and(|last| last.ends_with(b"\n"));
        Ok(Self { pieces, is_complete })
    }

    /// The lines with users, in order. A user can come twice, with the same Maildir.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.pieces.iter().flat_map(|piece| lines_of(piece))
    }

    /// Hands the lines out and gives their memory back meanwhile.
    pub fn into_lines(self, mut each: impl FnMut(Line<'_>)) {
        for piece in self.pieces {
            lines_of(&piece).for_each(&mut each);
        }
    }
}

/// Reads everything, and cuts it at ends of lines.
fn pieces(mut from: impl Read) -> io::Result<Vec<Vec<u8>>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    loop {
        let begin = piece.len();
        piece.reserve_exact(PIECE);
        if from.by_ref().take(PIECE as u64).read_to_end(&mut piece)? == 0 {
            break;
        }
        if let Some(end) = piece[begin..].iter().rposition(|byte| *byte == b'\n') {
            let rest = piece.split_off(begin + end + 1);
            pieces.push(std::mem::replace(&mut piece, rest));
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Looks at each line, and whether a user comes twice with different Maildirs.
fn check(pieces: &[Vec<u8>]) -> Result<(), MapFileError> {
    let hash = |line: &Line<'_>| FxBuildHasher.hash_one(line.user);
    // The piece, and the place in it, where a user's first line begins: lines are compared where they are.
    let mut seen: HashTable<(u32, u32)> = HashTable::new();
    let line_at = |(piece, at): (u32, u32)| {
        let line = pieces[piece as usize][at as usize..].split(|&byte| byte == b'\n').next();
        line.and_then(|line| parse_line(line).ok().flatten())
    };
    let mut number = 0;
    for (piece, bytes) in (0u32..).zip(pieces) {
        let mut begin = 0;
        for text in bytes.split_inclusive(|&byte| byte == b'\n') {
            number += 1;
            let place = (piece, u32::try_from(begin).unwrap_or(u32::MAX));
            begin += text.len();
            let error = |(column, problem)| MapFileError { line: number, column, problem };
            let Some(line) = parse_line(without_end(text)).map_err(error)? else { continue };
            let is_it = |place: &(u32, u32)| line_at(*place).is_some_and(|seen| seen.user == line.user);
            let rehash = |place: &(u32, u32)| line_at(*place).map_or(0, |line| hash(&line));
            match seen.entry(hash(&line), is_it, rehash) {
                hash_table::Entry::Vacant(free) => _ = free.insert(place),
                hash_table::Entry::Occupied(first) => {
                    let first = *first.get();
                    if line_at(first).is_some_and(|seen| seen.maildir.as_os_str() != line.maildir.as_os_str())
                        && let Ok(user) = Username::new(line.user)
                    {
                        let problem = Problem::Twice { user, first: number_of(pieces, first) };
                        return Err(error((indent(text) + 1, problem)));
                    }
                }
            }
        }
    }
    Ok(())
}

/// The number of the line that begins there.
fn number_of(pieces: &[Vec<u8>], (piece, at): (u32, u32)) -> usize {
    let ends = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
    let (piece, at) = (piece as usize, at as usize);
    pieces[..piece].iter().map(|bytes| ends(bytes)).sum::<usize>() + ends(&pieces[piece][..at]) + 1
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

fn lines_of(piece: &[u8]) -> impl Iterator<Item = Line<'_>> {
    piece.split(|&byte| byte == b'\n').filter_map(|line| parse_line(line).ok().flatten())
}

/// How many characters of white space a line begins with.
fn indent(line: &[u8]) -> usize {
    let text = std::str::from_utf8(line).unwrap_or_default();
    text.chars().take_while(|character| character.is_whitespace()).count()
}

/// The user and the Maildir of a line, if it has any; else in which column what is wrong.
fn parse_line(bytes: &[u8]) -> Result<Option<Line<'_>>, (usize, Problem)> {
    let text = std::str::from_utf8(bytes).map_err(|bad| {
        let column = String::from_utf8_lossy(&bytes[..bad.valid_up_to()]).chars().count() + 1;
        (column, Problem::NotText)
    })?;
    let content = text.trim();
    if content.is_empty() || content.starts_with('#') {
        return Ok(None);
    }
    let indent = indent(bytes);
    // A user name may hold a colon, a path nearly never begins without a slash: the last `:` before a `/` is meant.
    let Some((name, path)) = split(content) else {
        return Err((indent + 1, Problem::NoUser));
    };
    let user = name.trim_end();
    Username::check(user).map_err(|bad| (indent + 1, bad.into()))?;
    let column =
        || indent + name.chars().count() + 2 + (path.chars().count() - path.trim_start().chars().count());
    let maildir = path.trim_start();
    if maildir.is_empty() {
        return Err((column(), Problem::NoPath));
    }
    if !maildir.starts_with('/') {
        return Err((column(), Problem::Relative(maildir.to_owned())));
    }
    if maildir.contains('\0') {
        return Err((column(), Problem::NotText));
    }
    Ok(Some(Line { user, maildir: Path::new(maildir) }))
}

/// Splits at the first colon that white space or a slash follows, else at the first colon.
pub(crate) fn split(content: &str) -> Option<(&str, &str)> {
    let end = content
        .match_indices(':')
        .map(|(at, _)| at)
        .find(|&at| content[at + 1..].starts_with(|next: char| next == '/' || next.is_whitespace()))
        .or_else(|| content.find(':'))?;
    Some((&content[..end], &content[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<MapFile, MapFileError> {
        match MapFile::read(bytes) {
            Ok(file) => Ok(file),
            Err(ReadError::Line(error)) => Err(error),
            Err(ReadError::Io(error)) => panic!("memory can be read: {error}"),
        }
    }

    #[test]
    fn reads_users_and_skips_comments() {
        let file =
            parse(b"# family\n\njesse: /var/mail/jesse\n  a:b@x.org :\t/p q/M\njesse: /var/mail/jesse\n")
                .expect("good");
        let users: Vec<_> = file.lines().map(|line| (line.user, line.maildir.to_str())).collect();
        let jesse = ("jesse", Some("/var/mail/jesse"));
        assert_eq!(users, [jesse, ("a:b@x.org", Some("/p q/M")), jesse]);
        assert!(file.is_complete);
        assert!(!parse(b"jesse: /var/ma").expect("good").is_complete);
        assert!(!parse(b"").expect("good").is_complete);
    }

    /// Wherever the file is cut into pieces, no line is.
    #[test]
    fn a_large_file_in_pieces() {
        let mut text = String::new();
        let count = 30_000;
        for number in 0..count {
            text.push_str(&format!(
                "user{number}@example.org: /var/vmail/{}/{number}\n",
                "x".repeat(number % 40)
            ));
        }
        // One line that is longer than a piece.
        text.push_str(&format!("long: /{}\n", "y".repeat(2 * PIECE)));
        let file = parse(text.as_bytes()).expect("good");
        assert!(file.pieces.len() > 4);
        let users: Vec<_> = file.lines().map(|line| line.user.to_owned()).collect();
        assert_eq!((users.len(), users[count - 1].as_str()), (count + 1, "user29999@example.org"));
        let mut handed_out = Vec::new();
        file.into_lines(|line| handed_out.push(line.user.to_owned()));
        assert_eq!(handed_out, users);

        text.push_str("user20000@example.org: /elsewhere");
        let error = parse(text.as_bytes()).expect_err("a user twice");
        let message = "the user `user20000@example.org` is in line 20001 already, with another Maildir";
        assert_eq!((error.line, error.to_string().as_str()), (count + 2, message));
    }

    #[test]
    fn says_where_and_what() {
        for (text, line, column, message) in [
            ("a: /x\njesse /var", 2, 1, "no `user:` before the path"),
            ("  jesse:", 1, 9, "no path after the user"),
            ("jesse: mail/jesse", 1, 8, "the path `mail/jesse` is not absolute"),
            (": /x", 1, 1, "a user name cannot be empty"),
            ("j\u{7}: /x", 1, 1, "the user name `j\\u{7}` contains the control character '\\u{7}'"),
            ("a: /x\n\na: /y", 3, 1, "the user `a` is in line 1 already, with another Maildir"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert_eq!((error.line, error.column, error.to_string().as_str()), (line, column, message));
        }
        assert_eq!(parse(b"a: /x\nb: \xff").expect_err("no text").to_string(), "the line is not UTF-8");
    }
}
