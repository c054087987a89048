//! Files that hold secrets, and passwords: read with care, wiped when dropped, never printed.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use zeroize::Zeroizing;

use super::error::{CredentialError, Fault};

/// More than any chain of certificates and the bundle of a whole system, and less than `/dev/zero`.
const LONGEST: u64 = 4 << 20;

/// Bytes that are wiped when they are dropped.
pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// What a file held, and whom it lets read.
pub(super) struct SecretFile {
    pub(super) bytes: Bytes,
    pub(super) readable_by_all: bool,
}

impl SecretFile {
    pub(super) fn read(path: &Path) -> Result<Self, CredentialError> {
        let fail = |fault| CredentialError::new(path, fault);
        let unreadable = |error: io::Error| fail(Fault::Unreadable(error));
        let file = File::open(path).map_err(unreadable)?;
        // The mode of what was opened, not of what the path may lead to by now.
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LONGEST {
            return Err(fail(Fault::TooLong));
        }
        Ok(Self { bytes, readable_by_all: mode & 0o004 != 0 })
    }
}

/// A password: bytes, for nobody promises that they are UTF-8.
#[derive(Clone)]
pub(super) struct Password(Bytes);

impl Password {
    /// What a password file holds, without the line end that editors and `echo` leave: one, for a password may end in one itself.
    pub(super) fn from_file(content: &[u8]) -> Self {
        let line = content.strip_suffix(b"\n").unwrap_or(content);
        Self(Zeroizing::new(
            line.strip_suffix(b"\r").filter(|_| line.len() < content.len()).unwrap_or(line).to_vec(),
        ))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As PKCS#12 wants it: UTF-16, big-endian, with a zero at the end (RFC 7292, B.1).
    pub(super) fn utf16(&self) -> Bytes {
        let units: Zeroizing<Vec<u16>> = Zeroizing::new(match std::str::from_utf8(&self.0) {
            Ok(text) => text.encode_utf16().collect(),
            // What is not UTF-8 is taken for Latin-1, as OpenSSL does.
            Err(_) => self.0.iter().copied().map(u16::from).collect(),
        });
        Zeroizing::new(units.iter().chain(&[0]).flat_map(|unit| unit.to_be_bytes()).collect())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_the_password() {
        for (content, password) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            ("secret\r", "secret\r"),
            (" two words \n", " two words "),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(Password::from_file(content.as_bytes()).bytes(), password.as_bytes(), "{content:?}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        assert_eq!(format!("{:?}", Password::from_file(b"sesame")), "Password(…)");
    }

    #[test]
    fn pkcs12_has_its_own_form_of_passwords() {
        assert_eq!(*Password::from_file(b"").utf16(), [0, 0]);
        assert_eq!(*Password::from_file("aü".as_bytes()).utf16(), [0, b'a', 0, 0xfc, 0, 0]);
        assert_eq!(*Password::from_file(b"a\xfc").utf16(), [0, b'a', 0, 0xfc, 0, 0], "Latin-1");
        assert_eq!(*Password::from_file("😀".as_bytes()).utf16(), [0xd8, 0x3d, 0xde, 0x00, 0, 0]);
    }
}
