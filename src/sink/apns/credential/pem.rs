//! The text around DER: blocks of base64 between lines that name them (RFC 7468), with the headers of old private keys (RFC 1421).
//!
//! rustls' own reader of PEM knows no headers, and they are what makes a traditional key an encrypted one.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::{error::Fault, secret::Bytes};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One block.
pub(super) struct Block {
    pub(super) label: String,
    /// The value of `DEK-Info`, if the block is encrypted: the cipher, a comma, and the salt.
    pub(super) encryption: Option<String>,
    pub(super) der: Bytes,
}

/// Is there a block in it at all?
pub(super) fn is_pem(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| label(line, BEGIN).is_some())
}

/// All blocks. Text outside of them is for people, such as the "Bag Attributes" of `openssl pkcs12`.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Block>, Fault> {
    let mut blocks = Vec::new();
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(name) = label(line, BEGIN) else { continue };
        let damaged = || Fault::DamagedBlock { label: name.clone(), line: number };
        let mut encryption = None;
        let mut base64 = Zeroizing::new(Vec::new());
        loop {
            let (line, _) = lines.next().ok_or_else(damaged)?;
            if let Some(end) = label(line, END) {
                if end == name {
                    break;
                }
                return Err(damaged());
            }
            if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                if line[..colon].eq_ignore_ascii_case(b"DEK-Info") {
                    encryption = Some(String::from_utf8_lossy(line[colon + 1..].trim_ascii()).into_owned());
                }
                continue;
            }
            base64.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
        let der = Zeroizing::new(BASE64.decode(&*base64).map_err(|_| damaged())?);
        if der.is_empty() {
            return Err(damaged());
        }
        blocks.push(Block { label: name, encryption, der });
    }
    Ok(blocks)
}

/// The name in the first or last line of a block.
fn label(line: &[u8], edge: &[u8]) -> Option<String> {
    // A file that an editor began with a byte order mark begins with a block all the same.
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    let name = line.strip_prefix(edge)?.strip_suffix(b"-----")?;
    name.iter()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" #-".contains(byte))
        .then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        blocks(text.as_bytes())
            .map(|blocks| blocks.into_iter().map(|block| (block.label, block.der.to_vec())).collect())
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn blocks_are_found_in_any_text() {
        let one = Ok(vec![("KEY".to_owned(), b"abcd".to_vec())]);
        for text in [
            "-----BEGIN KEY-----\nYWJjZA==\n-----END KEY-----\n",
            "-----BEGIN KEY-----\nYWJjZA==\n-----END KEY-----",
            "-----BEGIN KEY-----\r\nYWJj\r\nZA==\r\n-----END KEY-----\r\n",
            "\u{feff}-----BEGIN KEY-----\nYWJjZA==\n-----END KEY-----\n",
            "Bag Attributes\n    friendlyName: J\u{fc}rgen\n-----BEGIN KEY-----\nYWJjZA\n-----END KEY-----\nthe end\n",
            "  -----BEGIN KEY-----\n  YWJj ZA==\n\n  -----END KEY-----  \n",
        ] {
            assert_eq!(labels(text), one, "{text:?}");
        }
        assert_eq!(labels("no block"), Ok(vec![]));
    }

    #[test]
    fn headers_tell_of_the_encryption() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00FF\n\nYWJj\n-----END RSA PRIVATE KEY-----\n";
        let blocks = blocks(text.as_bytes()).unwrap();
        assert_eq!(blocks[0].encryption.as_deref(), Some("AES-256-CBC,00FF"));
        assert_eq!(**blocks[0].der, *b"abc");
    }

    #[test]
    fn a_damaged_block_is_named_with_its_line() {
        for text in [
            "x\n-----BEGIN KEY-----\nYWJjZA==\n",
            "x\n-----BEGIN KEY-----\nYW?jZA==\n-----END KEY-----\n",
            "x\n-----BEGIN KEY-----\nYWJjZA==\n-----END CERTIFICATE-----\n",
            "x\n-----BEGIN KEY-----\n-----END KEY-----\n",
        ] {
            assert_eq!(
                labels(text),
                Err("the PEM block that begins in line 2 is damaged: `KEY`".to_owned()),
                "{text:?}"
            );
        }
    }
}
