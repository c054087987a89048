//! The path of a Maildir, in pieces.

use std::{
    ffi::OsStr,
    fmt,
    hash::{Hash, Hasher},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// Where a mailbox is, borrowed from the map: what comes before its own part and after it is kept once for all that share it.
///
/// The pieces meet at slashes. How a path is taken apart makes no difference: two are equal if they are as [`Path`]s.
#[derive(Clone, Copy)]
pub struct MaildirPath<'a> {
    /// Directories above, with a slash at the end. May be empty.
    pub(super) before: &'a [u8],
    /// What no other mailbox has, as a rule the name of a user.
    pub(super) own: &'a [u8],
    /// Directories below, with a slash at the beginning. May be empty.
    pub(super) after: &'a [u8],
}

impl<'a> MaildirPath<'a> {
    /// Takes a path apart before the last `below` components. None if it has too few of them.
    pub(super) fn split(path: &'a [u8], below: usize) -> Option<Self> {
        let slash = |end: usize| path[..end].iter().rposition(|byte| *byte == b'/');
        let end = (0..below).try_fold(path.len(), |end, _| slash(end))?;
        let start = slash(end)? + 1;
        Some(Self { before: &path[..start], own: &path[start..end], after: &path[end..] })
    }

    /// The same as a path that outlives the map.
    #[must_use]
    pub fn to_path_buf(self) -> PathBuf {
        std::ffi::OsString::from_vec(self.pieces().concat()).into()
    }

    const fn pieces(self) -> [&'a [u8]; 3] {
        [self.before, self.own, self.after]
    }

    /// The names in it, as [`Path::components`] has them.
    fn names(self) -> impl Iterator<Item = &'a [u8]> {
        let names = |piece: &'a [u8]| piece.split(|byte| *byte == b'/');
        self.pieces().into_iter().flat_map(names).filter(|name| !matches!(name, [] | [b'.']))
    }

    fn is_absolute(self) -> bool {
        self.pieces().into_iter().find_map(|piece| piece.first()) == Some(&b'/')
    }

    /// Is it this, byte for byte?
    fn is_written(self, whole: &[u8]) -> bool {
        whole.strip_prefix(self.before).and_then(|rest| rest.strip_suffix(self.after)) == Some(self.own)
    }
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for MaildirPath<'a> {
    fn from(path: &'a P) -> Self {
        Self { before: &[], own: path.as_ref().as_os_str().as_bytes(), after: &[] }
    }
}

impl From<MaildirPath<'_>> for PathBuf {
    fn from(path: MaildirPath<'_>) -> Self {
        path.to_path_buf()
    }
}

impl PartialEq for MaildirPath<'_> {
    fn eq(&self, other: &Self) -> bool {
        // Paths are mostly written as they were, and what is only asked for is in one piece.
        self.pieces() == other.pieces()
            || other.before.is_empty() && other.after.is_empty() && self.is_written(other.own)
            || self.is_absolute() == other.is_absolute() && self.names().eq(other.names())
    }
}

impl Eq for MaildirPath<'_> {}

impl PartialEq<Path> for MaildirPath<'_> {
    fn eq(&self, other: &Path) -> bool {
        *self == MaildirPath::from(other)
    }
}

impl Hash for MaildirPath<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Equal paths differ at most in slashes and in components that are a dot. Each byte for itself is equal in all pieces.
        for piece in self.pieces() {
            for byte in piece.iter().filter(|byte| !matches!(byte, b'/' | b'.')) {
                state.write_u8(*byte);
            }
        }
    }
}

impl fmt::Display for MaildirPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces()
            .into_iter()
            .try_for_each(|piece| write!(f, "{}", Path::new(OsStr::from_bytes(piece)).display()))
    }
}

impl fmt::Debug for MaildirPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_path_buf())
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use proptest::prelude::*;
    use rustc_hash::FxBuildHasher;

    use super::*;

    proptest! {
        /// However paths are taken apart, they are equal when they are as paths, and then their hashes are, too.
        #[test]
        fn pieces_make_no_difference(one in "/[/.ab]{0,8}", other in "/[/.ab]{0,8}", below in 0usize..4, other_below in 0usize..4) {
            let split = |path, below| MaildirPath::split(str::as_bytes(path), below).unwrap_or_else(|| path.into());
            let (first, second) = (split(&one, below), split(&other, other_below));
            prop_assert_eq!(first.to_path_buf().into_os_string(), &*one);
            prop_assert_eq!(first.to_string(), &*one);
            prop_assert_eq!(first == second, Path::new(&one) == Path::new(&other));
            prop_assert_eq!(first == *Path::new(&other), Path::new(&one) == Path::new(&other));
            if first == second {
                prop_assert_eq!(FxBuildHasher.hash_one(first), FxBuildHasher.hash_one(second));
            }
        }
    }
}
