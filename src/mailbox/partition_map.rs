//! OS X Server's `partition_map.conf`: a line `tag:/path` for each place where Dovecot keeps mail. Pure.
//!
//! Dovecot's own reader takes a line that begins with a tag and a colon, and what follows is the path, to the end of the line.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// A place with folders named by GUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What it is called.
    pub tag: String,
    /// Where it is.
    pub path: PathBuf,
}

/// A line that is no partition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// No tag.
    #[error("line {0} is not `tag:/path`")]
    NoTag(usize),
    /// A path that depends on where somebody stands.
    #[error("line {line}: the path `{}` is not absolute", .path.escape_debug())]
    Relative {
        /// Counted from 1.
        line: usize,
        /// As it is written.
        path: String,
    },
}

/// The partitions of a file, and its lines that are none.
#[must_use]
pub fn parse(text: &[u8]) -> (Vec<Partition>, Vec<LineError>) {
    let (mut partitions, mut errors) = (Vec::<Partition>::new(), Vec::new());
    for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let text = text.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let Some(colon) = text.iter().position(|byte| *byte == b':').filter(|at| *at > 0) else {
            errors.push(LineError::NoTag(line));
            continue;
        };
        let tag = String::from_utf8_lossy(&text[..colon]).into_owned();
        let path = Path::new(OsStr::from_bytes(&text[colon + 1..]));
        if !path.is_absolute() || text.contains(&0) {
            errors.push(LineError::Relative { line, path: path.to_string_lossy().into_owned() });
        // The first of a tag counts.
        } else if partitions.iter().all(|known| known.tag != tag) {
            partitions.push(Partition { tag, path: path.components().collect() });
        }
    }
    (partitions, errors)
}

/// Is this the name of a folder with somebody's mail, such as `0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8`?
#[must_use]
pub fn is_guid(name: &OsStr) -> bool {
    let mut groups = name.as_bytes().split(|byte| *byte == b'-');
    let fits = |length| {
        groups.next().is_some_and(|group| group.len() == length && group.iter().all(u8::is_ascii_hexdigit))
    };
    [8, 4, 4, 4, 12].into_iter().all(fits) && groups.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> (Vec<String>, Vec<String>) {
        let (partitions, errors) = parse(text.as_bytes());
        let partitions = partitions.iter().map(|found| format!("{}={}", found.tag, found.path.display()));
        (partitions.collect(), errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lines_as_servers_have_them() {
        let text = "default:/Library/Server/Mail/Data/mail\nBig Disk:/Volumes/Big Disk/mail/\r\n\n# note\ndefault:/other\n";
        let partitions = ["default=/Library/Server/Mail/Data/mail", "Big Disk=/Volumes/Big Disk/mail"];
        assert_eq!(shown(text), (partitions.map(str::to_owned).to_vec(), Vec::new()));
        let (partitions, errors) = shown("/only/a/path\n:/x\nfar:mail\nnear:/near");
        assert_eq!(partitions, ["near=/near"]);
        assert_eq!(
            errors,
            [
                "line 1 is not `tag:/path`",
                "line 2 is not `tag:/path`",
                "line 3: the path `mail` is not absolute"
            ]
        );
    }

    #[test]
    fn what_is_a_guid() {
        for (name, expected) in [
            ("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8", true),
            ("0c69e1e7-6dc7-41b1-ad12-1c596ac7ebc8", true),
            ("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC", false),
            ("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBC8-", false),
            ("0C69E1E7-6DC7-41B1-AD12-1C596AC7EBCX", false),
            ("users", false),
            ("", false),
        ] {
            assert_eq!(is_guid(OsStr::new(name)), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let (partitions, _) = parse(&text);
            prop_assert!(partitions.iter().all(|found| found.path.is_absolute()));
            let _ = is_guid(OsStr::from_bytes(&text));
        }
    }
}
