//! What a directory is called on all file systems together: our number of the file system, and its handle there.

/// A directory's name in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    /// Our number of the file system.
    pub(super) file_system: u16,
    /// The kind of handle.
    pub(super) kind: i32,
    pub(super) handle: &'a [u8],
}

/// The same, kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyBuf {
    file_system: u16,
    kind: i32,
    handle: HandleBuf,
}

/// Eight bytes, as on ext4, need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HandleBuf {
    Eight([u8; 8]),
    Other(Box<[u8]>),
}

impl Key<'_> {
    pub(super) fn to_buf(self) -> KeyBuf {
        let handle = match self.handle.try_into() {
            Ok(eight) => HandleBuf::Eight(eight),
            Err(_) => HandleBuf::Other(self.handle.into()),
        };
        KeyBuf { file_system: self.file_system, kind: self.kind, handle }
    }
}

impl KeyBuf {
    pub(super) fn as_key(&self) -> Key<'_> {
        let handle = match &self.handle {
            HandleBuf::Eight(eight) => &eight[..],
            HandleBuf::Other(other) => other,
        };
        Key { file_system: self.file_system, kind: self.kind, handle }
    }
}
