//! The ciphers and key derivations that files of keys use. Nothing here protects what pushmaild itself stores or sends: it is for reading
//! what others wrote, and that is why the old kinds are among them.

use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit, block_padding::Pkcs7};
use md5::{Digest, Md5};
use ring::digest;
use zeroize::Zeroizing;

use super::secret::Bytes;

/// A block cipher in CBC mode, padded as PKCS#7 does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    Rc2Bits40,
    Rc2Bits128,
}

impl Cipher {
    pub(super) fn key_length(self) -> usize {
        match self {
            Self::Aes128 | Self::Rc2Bits128 => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
            Self::Rc2Bits40 => 5,
        }
    }

    pub(super) fn block_length(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
            Self::TripleDes | Self::Rc2Bits40 | Self::Rc2Bits128 => 8,
        }
    }

    /// The plain text, or nothing: a wrong key shows in a wrong padding, but for one time in 256, so the caller has to look at the result.
    pub(super) fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Option<Bytes> {
        match self {
            Self::Aes128 => cbc::<aes::Aes128>(key, iv, data),
            Self::Aes192 => cbc::<aes::Aes192>(key, iv, data),
            Self::Aes256 => cbc::<aes::Aes256>(key, iv, data),
            Self::TripleDes => cbc::<des::TdesEde3>(key, iv, data),
            // RC2's strength is the length of its key.
            Self::Rc2Bits40 | Self::Rc2Bits128 => cbc::<rc2::Rc2>(key, iv, data),
        }
    }
}

fn cbc<C: BlockCipherDecrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Option<Bytes> {
    let decryptor = cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?;
    decryptor.decrypt_padded_vec::<Pkcs7>(data).ok().map(Zeroizing::new)
}

/// The key of a traditional private key in PEM: OpenSSL's `EVP_BytesToKey` with MD5, one round, and the first eight bytes of the
/// initialisation vector as salt.
pub(super) fn traditional_key(password: &[u8], iv: &[u8], length: usize) -> Bytes {
    let mut key = Zeroizing::new(Vec::new());
    let mut block = Zeroizing::new(Vec::new());
    while key.len() < length {
        let hash =
            Md5::new().chain_update(&*block).chain_update(password).chain_update(iv.get(..8).unwrap_or(iv));
        *block = hash.finalize().to_vec();
        key.extend_from_slice(&block);
    }
    key.truncate(length);
    key
}

/// What a key derived by [`pkcs12_key`] is for.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// The key derivation of PKCS#12 (RFC 7292, B.2); names and numbers of steps are the ones there.
pub(super) fn pkcs12_key(
    algorithm: &'static digest::Algorithm,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Bytes {
    let v = algorithm.block_len();
    let filled =
        |text: &[u8]| -> Vec<u8> { text.iter().copied().cycle().take(v * text.len().div_ceil(v)).collect() };
    // Steps 1 to 4: D, and I = S || P.
    let d = vec![purpose as u8; v];
    let mut i = Zeroizing::new(filled(salt));
    i.extend_from_slice(&Zeroizing::new(filled(password)));
    let mut key = Zeroizing::new(Vec::new());
    while key.len() < length {
        // Step 6 A: the hash of D || I, again and again.
        let mut context = digest::Context::new(algorithm);
        context.update(&d);
        context.update(&i);
        let mut a = context.finish();
        for _ in 1..rounds {
            a = digest::digest(algorithm, a.as_ref());
        }
        key.extend_from_slice(a.as_ref());
        // Steps 6 B and C: B is A as often as it fits; each block of I becomes (block + B + 1) mod 2^v.
        let b: Vec<u8> = a.as_ref().iter().copied().cycle().take(v).collect();
        for block in i.chunks_mut(v) {
            let mut carry = 1;
            for (byte, add) in block.iter_mut().zip(&b).rev() {
                let sum = u16::from(*byte) + u16::from(*add) + carry;
                [_, *byte] = sum.to_be_bytes();
                carry = sum >> 8;
            }
        }
    }
    key.truncate(length);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Known answers of OpenSSL 3: `openssl kdf -keylen N -kdfopt digest:D -kdfopt hexpass:P -kdfopt hexsalt:S -kdfopt iter:R -kdfopt id:I
    /// PKCS12KDF`.
    #[test]
    fn keys_of_pkcs12_are_those_of_openssl() {
        let password = hex("0073006500730061006d00650000");
        for (algorithm, purpose, salt, rounds, key) in [
            (
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
                Purpose::Key,
                "0011223344556677",
                2048,
                "2bf5c43e1e4c77a6e55ed8d2b91db4324969967800188b31",
            ),
            (&digest::SHA1_FOR_LEGACY_USE_ONLY, Purpose::Iv, "0011223344556677", 2048, "585a1f24370951c9"),
            (
                &digest::SHA256,
                Purpose::Mac,
                "00112233445566778899aabbccddeeff",
                1,
                "759f9a9980e6660aed8a0c6bdcfa39d1a8f1bafcaf15a24d43293a86c41235b5",
            ),
            (
                &digest::SHA512,
                Purpose::Key,
                "0011223344556677",
                3,
                "6b2c15f441965582f076c7523066725872c7b9d1038a7f1559643251f22c5b6f33120d7ad350696a9d42628619e50750\
                 505e8b83cca9020117846a1f4f7533c5b0290ebfae4874bafd9ada7ee2003f2f8467e43c22cb7940f6b6cd47e18168af\
                 4dcb2db8",
            ),
        ] {
            let key = hex(key);
            assert_eq!(*pkcs12_key(algorithm, purpose, &password, &hex(salt), rounds, key.len()), key);
        }
    }

    #[test]
    fn lengths_fit() {
        use Cipher::{Aes128, Aes192, Aes256, Rc2Bits40, Rc2Bits128, TripleDes};
        for cipher in [Aes128, Aes192, Aes256, TripleDes, Rc2Bits40, Rc2Bits128] {
            let key = vec![1; cipher.key_length()];
            let iv = vec![2; cipher.block_length()];
            // Two blocks of noise: at most a wrong padding, and never a panic.
            let _ = cipher.decrypt(&key, &iv, &vec![3; 2 * cipher.block_length()]);
            assert!(cipher.decrypt(&key, &iv[1..], &iv).is_none(), "{cipher:?}");
            assert!(cipher.decrypt(&key, &iv, &iv[1..]).is_none(), "{cipher:?}");
            assert!(cipher.decrypt(&[], &iv, &iv).is_none(), "{cipher:?}");
        }
    }
}
