//! What names a device and a push to it: the device token, the account id and the topic.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The most bytes of a token. Apple says to assume no length; today's have 32.
const MAX_TOKEN: usize = 128;
/// The most bytes of an account id: it is also the collapse id, and APNs takes 64 bytes there.
const MAX_ACCOUNT_ID: usize = 64;
/// The most bytes of a topic. They are reversed domains with a prefix.
const MAX_TOPIC: usize = 255;

/// Why something that a client sent is no registration.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    /// Not an even number of hexadecimal digits, none, or too many.
    #[error("the device token is not an even number of hexadecimal digits, {most} at most", most = MAX_TOKEN * 2)]
    Token,
    /// Empty, too long for a collapse id, or with characters that no HTTP header takes.
    #[error("the account id is not 1 to {MAX_ACCOUNT_ID} printable ASCII characters")]
    AccountId,
    /// Likewise.
    #[error("the topic is not 1 to {MAX_TOPIC} printable ASCII characters")]
    Topic,
}

/// The `aps-device-token`: where Apple sends a push. Whoever has it and the credential can push, so logs show its beginning only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceToken(Box<[u8]>);

impl DeviceToken {
    /// Takes the bytes that hexadecimal digits stand for.
    ///
    /// # Errors
    /// If there are none, or too many.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DeviceError> {
        if bytes.is_empty() || bytes.len() > MAX_TOKEN {
            return Err(DeviceError::Token);
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes that the digits stand for.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The whole token as APNs wants it. Not for logs.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut hex = String::with_capacity(self.0.len() * 2);
        self.push_hex(&mut hex);
        hex
    }

    /// Appends the whole token in lower-case hexadecimal digits.
    pub fn push_hex(&self, out: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in &self.0 {
            out.push(DIGITS[usize::from(byte >> 4)].into());
            out.push(DIGITS[usize::from(byte & 15)].into());
        }
    }
}

impl FromStr for DeviceToken {
    type Err = DeviceError;

    /// Reads hexadecimal digits in either case.
    fn from_str(hex: &str) -> Result<Self, DeviceError> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if !rest.is_empty() || pairs.len() > MAX_TOKEN {
            return Err(DeviceError::Token);
        }
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        Self::from_bytes(&bytes.ok_or(DeviceError::Token)?)
    }
}

/// The beginning, for people who compare it with another log.
impl fmt::Display for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if self.0.len() > 8 { 4 } else { self.0.len() / 2 };
        for byte in &self.0[..shown] {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…")
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

macro_rules! header_text {
    ($(#[$doc:meta])* $name:ident, $most:expr, $error:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = DeviceError;

            fn from_str(text: &str) -> Result<Self, DeviceError> {
                let fits = (1..=$most).contains(&text.len());
                // It becomes an HTTP header, a field of a log line, and a line of the answer to a plugin.
                let is_good = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
                if fits && is_good { Ok(Self(text.into())) } else { Err($error) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

header_text! {
    /// The `aps-account-id`: which of the phone's mail accounts is to look.
    AccountId, MAX_ACCOUNT_ID, DeviceError::AccountId
}
header_text! {
    /// The APNs topic that the phone was told: it takes pushes on no other.
    Topic, MAX_TOPIC, DeviceError::Topic
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_an_even_number_of_digits_in_any_case() {
        let token: DeviceToken = "A66216AD1683d48b".parse().expect("digits");
        assert_eq!(token.to_hex(), "a66216ad1683d48b");
        for bad in ["", "abc", "zz", "aé", &"00".repeat(MAX_TOKEN + 1)] {
            assert_eq!(bad.parse::<DeviceToken>(), Err(DeviceError::Token), "{bad}");
        }
    }

    #[test]
    fn a_token_is_never_shown_whole() {
        for hex in ["ab", "abcd", "2918390218931890821908309283098109381029309829018310983092892829"] {
            let token: DeviceToken = hex.parse().expect("digits");
            assert!(!format!("{token} {token:?}").contains(hex));
        }
    }

    #[test]
    fn what_becomes_a_header_has_no_space_quote_or_control_character() {
        for bad in ["", "a b", "a\r\nb", "ä", "a\"b", "a\\b", &"a".repeat(65)] {
            assert_eq!(bad.parse::<AccountId>(), Err(DeviceError::AccountId), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn digits_to_bytes_to_digits(bytes in proptest::collection::vec(any::<u8>(), 1..MAX_TOKEN)) {
            let token = DeviceToken::from_bytes(&bytes).expect("some bytes");
            prop_assert_eq!(token.to_hex().parse(), Ok(token.clone()));
            prop_assert_eq!(token.to_hex().to_uppercase().parse(), Ok(token));
        }
    }
}
