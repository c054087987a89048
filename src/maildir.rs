//! Names of the files in a Maildir. Pure: bytes in, facts out.
//!
//! The grammar, after D. J. Bernstein's "Using maildir format" and what Dovecot adds to it:
//!
//! ```text
//! file-name = unique [ info ]
//! unique    = 1*byte                    ; Dovecot appends ",S=<size>,W=<virtual size>" to it
//! info      = separator "2," flags [ "," *byte ]
//! separator = ":" / ";" / "!" / "-" / "_"
//! flags     = *ALPHA                    ; P R S T D F, and a to z for Dovecot's keywords
//! ```
//!
//! `:` is the standard's separator. The others are what programs write where the file system does not
//! take a colon: offlineimap and mbsync let the user choose, and mail servers on macOS and Windows do it too.

use std::path::{Path, PathBuf};

/// The two directories of a Maildir that hold messages; `tmp/` is of no interest to anybody but the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// `new/`: delivered, and seen by no client yet.
    New,
    /// `cur/`: seen by a client; the flags are in the file names.
    Cur,
}

impl Part {
    /// Both, in the order in which they are watched: `new/` first, since a delivery matters most.
    pub const ALL: [Self; 2] = [Self::New, Self::Cur];

    /// The directory's name inside the Maildir.
    #[must_use]
    pub const fn dir_name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cur => "cur",
        }
    }

    /// The directory of a Maildir, in a buffer that serves for many.
    #[must_use]
    pub fn directory<'a>(self, maildir: &Path, buffer: &'a mut PathBuf) -> &'a Path {
        buffer.as_mut_os_string().clear();
        buffer.push(maildir);
        buffer.push(self.dir_name());
        buffer
    }
}

/// A message's file name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName<'a> {
    /// What stays the same while the message lives, whatever its flags.
    pub unique: &'a [u8],
    /// The flags, empty when there is no info part.
    pub flags: &'a [u8],
}

impl<'a> FileName<'a> {
    /// Takes a file name apart. Every name has a reading: one without an info part is all `unique`.
    #[must_use]
    pub fn parse(name: &'a [u8]) -> Self {
        // The last separator counts, for a unique name may hold anything, a host called `a:2,b` included.
        let info = (0..name.len().saturating_sub(2)).rev().find(|&at| {
            matches!(name[at], b':' | b';' | b'!' | b'-' | b'_')
                && name[at + 1..].starts_with(b"2,")
                && flags_of(&name[at + 3..]).is_some()
        });
        match info {
            Some(at) => Self { unique: &name[..at], flags: flags_of(&name[at + 3..]).unwrap_or_default() },
            None => Self { unique: name, flags: &[] },
        }
    }

    /// Has some client marked the message as read (`S`)?
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.flags.contains(&b'S')
    }
}

/// The flags at the start of what follows `2,`, or nothing if that is no info part.
fn flags_of(rest: &[u8]) -> Option<&[u8]> {
    let flags = rest.split(|&byte| byte == b',').next().unwrap_or_default();
    flags.iter().all(u8::is_ascii_alphabetic).then_some(flags)
}

/// Is this a message, or one of the other files that servers and tools leave in `new/` and `cur/`?
///
/// Dot files are skipped as the standard says ("ignore names that begin with a dot"): NFS and rsync
/// put their temporaries there.
#[must_use]
pub fn is_message(name: &[u8]) -> bool {
    !(name.is_empty()
        || name.starts_with(b".")
        || name.starts_with(b"dovecot")
        || name == b"maildirsize"
        || name.ends_with(b".lock"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_real_servers() {
        for (name, unique, flags) in [
            ("1795303915.M334906P18022.host,S=262,W=274", "1795303915.M334906P18022.host,S=262,W=274", ""),
            ("1795303915.M334906P18022.host,S=262,W=274:2,", "1795303915.M334906P18022.host,S=262,W=274", ""),
            (
                "1795303915.M334906P18022.host,S=262,W=274:2,FS",
                "1795303915.M334906P18022.host,S=262,W=274",
                "FS",
            ),
            ("1795303915.M334906P18022.host:2,Sa", "1795303915.M334906P18022.host", "Sa"),
            ("1.host;2,S", "1.host", "S"),
            ("1.host!2,RS", "1.host", "RS"),
            ("1.host:2,S,X=5", "1.host", "S"),
            ("1.a:2,b.host:2,F", "1.a:2,b.host", "F"),
            ("1.host:1,experimental", "1.host:1,experimental", ""),
            ("1.host-2,5", "1.host-2,5", ""),
            ("", "", ""),
            ("2,", "2,", ""),
            (":2,", "", ""),
        ] {
            let parsed = FileName::parse(name.as_bytes());
            assert_eq!(parsed.unique, unique.as_bytes(), "{name}");
            assert_eq!(parsed.flags, flags.as_bytes(), "{name}");
        }
    }

    #[test]
    fn noise_is_no_message() {
        for name in ["dovecot-uidlist", "maildirsize", "x.lock", ".nfs0001", ".1.host.Xa3", ""] {
            assert!(!is_message(name.as_bytes()), "{name}");
        }
        assert!(is_message(b"1795303915.M334906P18022.host:2,S"));
    }

    proptest! {
        #[test]
        fn what_is_put_together_comes_apart(
            unique in "[0-9]{1,10}\\.[MPQ0-9]{1,12}\\.[a-z.:;,=0-9]{0,20}[a-z0-9]",
            separator in "[:;!_-]",
            flags in "[A-Za-z]{0,8}",
        ) {
            let name = format!("{unique}{separator}2,{flags}");
            let parsed = FileName::parse(name.as_bytes());
            prop_assert_eq!(parsed.unique, unique.as_bytes());
            prop_assert_eq!(parsed.flags, flags.as_bytes());
            prop_assert_eq!(parsed.is_seen(), flags.contains('S'));
        }

        #[test]
        fn any_bytes_have_a_reading(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            let parsed = FileName::parse(&name);
            prop_assert!(name.starts_with(parsed.unique));
            prop_assert!(parsed.flags.iter().all(u8::is_ascii_alphabetic));
        }
    }
}
