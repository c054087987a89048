//! What cannot be used, and what is said about it.

use std::env;
use std::fs;
use std::process::Command;

use pushmaild::sink::apns::credential::Credential;

use super::forge::Forge;
use crate::support::bound_by_modes;

/// A fault: how it is made, the message, and a part of the hint.
struct Fault {
    script: &'static str,
    certificate: &'static str,
    key: Option<&'static str>,
    password: Option<&'static str>,
    message: &'static str,
    hint: &'static str,
}

const fn fault(
    script: &'static str,
    certificate: &'static str,
    message: &'static str,
    hint: &'static str,
) -> Fault {
    Fault { script, certificate, key: None, password: None, message, hint }
}

impl Fault {
    const fn key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    const fn password(self, password: &'static str) -> Self {
        Self { password: Some(password), ..self }
    }
}

#[track_caller]
fn assert_all_fail(faults: &[Fault]) {
    let forge = Forge::new();
    let mut failures = Vec::new();
    for fault in faults {
        forge.sh(fault.script);
        match Credential::load(&forge.files(fault.certificate, fault.key, fault.password)) {
            Ok(_) => failures.push(format!("loads, in place of: {}", fault.message)),
            Err(error) => {
                let message = forge.message(&error);
                if message != fault.message {
                    failures.push(format!("{message}\n    in place of: {}", fault.message));
                }
                if !error.hint().contains(fault.hint) {
                    failures.push(format!("{message}\n    has the hint: {}", error.hint()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn parts_that_are_missing_or_do_not_fit() {
    assert_all_fail(&[
        fault(
            "",
            "rsa.pem",
            "ec.key: the private key does not belong to the certificate: `rsa.pem`",
            "openssl x509 -in",
        )
        .key("ec.key"),
        fault(
            "cat rsa.pem ec.key > a.pem",
            "a.pem",
            "a.pem: the private key does not belong to the certificate: `a.pem`",
            "openssl pkey -in",
        ),
        fault("", "rsa.pem", "rsa.pem: there is no private key in it, only a certificate", "with `key`"),
        fault("", "rsa.pem", "ec.pem: there is no private key in it, only a certificate", "with `key`")
            .key("ec.pem"),
        fault(
            "openssl pkey -in rsa.key -pubout -out public.pem",
            "rsa.pem",
            "public.pem: there is no private key in it, only a public key",
            "a public key is not enough",
        )
        .key("public.pem"),
        fault(
            "",
            "rsa.key",
            "rsa.key: there is no certificate in it, only a private key",
            "`token = { key-file = … }`",
        ),
        fault(
            "openssl pkcs8 -topk8 -nocrypt -in ec.key -out AuthKey.p8",
            "AuthKey.p8",
            "AuthKey.p8: there is no certificate in it, only a private key",
            "an APNs auth key (.p8) belongs to `token = { key-file = … }`",
        ),
        fault(
            "openssl req -new -config openssl.cnf -key rsa.key -out rsa.csr",
            "rsa.csr",
            "rsa.csr: there is no certificate in it, only a certificate signing request",
            "download the certificate (.cer)",
        )
        .key("rsa.key"),
        fault(
            "openssl req -in rsa.csr -outform DER -out csr.der",
            "csr.der",
            "csr.der: there is no certificate in it, only a certificate signing request",
            "download the certificate (.cer)",
        )
        .key("rsa.key"),
        fault(
            "",
            "public.pem",
            "public.pem: there is no certificate in it, only a public key",
            "name the file of the certificate",
        )
        .key("rsa.key"),
        fault(
            "openssl pkey -in rsa.key -pubout -outform DER -out public.der",
            "public.der",
            "public.der: there is no certificate in it, only a public key",
            "name the file of the certificate",
        )
        .key("rsa.key"),
        fault(
            "openssl pkcs12 -export -nokeys -in rsa.pem -passout pass: -out nokey.p12",
            "nokey.p12",
            "nokey.p12: there is no private key in it, only a certificate",
            "Keychain exports both",
        ),
        fault(
            "cat rsa.pem rsa.key ec.key > b.pem",
            "b.pem",
            "b.pem: there are several private keys: 2",
            "leave only the one",
        ),
        fault(
            "cp rsa.key other.key && certify other /UID=$topic leaf && cat rsa.pem other.pem rsa.key > c.pem",
            "c.pem",
            "c.pem: there are several certificates for the one private key: 2",
            "leave only the one to use",
        ),
        fault(
            "openssl genrsa -out small.key 1024 2> /dev/null && certify small /UID=$topic leaf",
            "small.pem",
            "small.key: the private key is of a kind or size that TLS cannot use",
            "2048 bits",
        )
        .key("small.key"),
    ]);
}

#[test]
fn files_that_are_no_credential() {
    assert_all_fail(&[
        fault(": > empty", "empty", "empty: the file is empty", "-----BEGIN CERTIFICATE-----"),
        fault("printf '\\n \\n' > blank", "blank", "blank: the file is empty", "-----BEGIN CERTIFICATE-----"),
        fault("echo hello > text", "text", "text: the file is neither PEM nor DER nor PKCS#12", ".p12"),
        fault(
            "head -c 5000000 /dev/zero > zero",
            "zero",
            "zero: the file is too long for a credential",
            ".p12",
        ),
        fault(
            "",
            "missing",
            "missing: cannot read the file: No such file or directory (os error 2)",
            "missing` does not exist",
        ),
        fault(
            "mkdir folder",
            "folder",
            "folder: cannot read the file: Is a directory (os error 21)",
            "name a file in it",
        ),
        fault(
            "cat rsa.key rsa.pem | sed '$d' > cut.pem",
            "cut.pem",
            "cut.pem: the PEM block that begins in line 29 is damaged: `CERTIFICATE`",
            "copy the file again",
        ),
        fault(
            "cat ec.key ec.pem | sed '7s/./*/' > star.pem",
            "star.pem",
            "star.pem: the PEM block that begins in line 6 is damaged: `CERTIFICATE`",
            "copy the file again",
        ),
        fault(
            "openssl x509 -in rsa.pem -outform DER | head -c 500 > cut.der",
            "cut.der",
            "cut.der: the file is damaged, or in an unusual encoding",
            "openssl",
        ),
        fault(
            "{ cat rsa.key; echo '-----BEGIN CERTIFICATE-----'; echo MAMCAQA=; echo '-----END CERTIFICATE-----'; } > odd.pem",
            "odd.pem",
            "odd.pem: the certificate cannot be read: unexpected ASN.1 DER tag: expected SEQUENCE, got INTEGER",
            "openssl x509 -in",
        ),
        fault(
            "openssl crl2pkcs7 -nocrl -certfile rsa.pem -out rsa.p7b",
            "rsa.p7b",
            "rsa.p7b: there is no certificate in it, only a PKCS#7 bundle",
            "name the file of the certificate",
        ),
    ]);
}

#[test]
fn passwords_that_do_not_open() {
    assert_all_fail(&[
        fault(
            "openssl pkcs8 -topk8 -v2 aes256 -in rsa.key -passout pass:sesame -out a.key",
            "rsa.pem",
            "a.key: a password is needed",
            "`password-file`",
        )
        .key("a.key"),
        fault("", "rsa.pem", "a.key: the password is wrong", "one line end").key("a.key").password("wrong"),
        fault("", "rsa.pem", "a.key: the password is wrong", "one line end")
            .key("a.key")
            .password("sesame\n\n"),
        fault("", "rsa.pem", "a.key: the password is wrong", "one line end").key("a.key").password(""),
        fault(
            "openssl rsa -in rsa.key -traditional -aes256 -passout pass:sesame -out b.key",
            "rsa.pem",
            "b.key: a password is needed",
            "`password-file`",
        )
        .key("b.key"),
        fault("", "rsa.pem", "b.key: the password is wrong", "one line end").key("b.key").password("wrong"),
        fault(
            "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -passout pass:sesame -out c.p12",
            "c.p12",
            "c.p12: a password is needed",
            "`password-file`",
        ),
        fault("", "c.p12", "c.p12: the password is wrong", "chosen at the export").password("wrong"),
        fault("", "c.p12", "c.p12: the password is wrong", "chosen at the export").password(""),
        fault(
            "openssl pkcs12 -export -legacy -in rsa.pem -inkey rsa.key -passout pass:sesame -out d.p12",
            "d.p12",
            "d.p12: a password is needed",
            "`password-file`",
        ),
        fault("", "d.p12", "d.p12: the password is wrong", "chosen at the export").password("wrong"),
        fault(
            "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -nomac -passout pass:sesame -out e.p12",
            "e.p12",
            "e.p12: the password is wrong",
            "chosen at the export",
        )
        .password("wrong"),
        fault(
            "openssl pkcs8 -topk8 -scrypt -in rsa.key -passout pass:sesame -out f.key",
            "rsa.pem",
            "f.key: the file uses an algorithm that is not supported: `1.3.6.1.4.1.11591.4.11`",
            "openssl pkcs8 -topk8",
        )
        .key("f.key")
        .password("sesame"),
        fault(
            "openssl rsa -in rsa.key -traditional -camellia256 -passout pass:sesame -out g.key",
            "rsa.pem",
            "g.key: the private key is encrypted by a cipher that is not supported: `CAMELLIA-256-CBC`",
            "openssl pkey -in",
        )
        .key("g.key")
        .password("sesame"),
    ]);

    let forge = Forge::new();
    let files = forge.files("rsa.pem", Some("rsa.key"), Some("x"));
    forge.sh("rm password");
    let error = Credential::load(&files).unwrap_err();
    assert_eq!(
        forge.message(&error),
        "password: cannot read the file: No such file or directory (os error 2)"
    );
    assert_eq!(error.path(), forge.path("password"));
    assert!(error.hint().contains("does not exist"), "{}", error.hint());
}

#[test]
fn keys_that_sign_no_tokens() {
    let forge = Forge::new();
    forge.sh("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.p8
         openssl ec -in ec.key -out sec1.p8
         openssl pkcs8 -topk8 -in ec.key -passout pass:x -out encrypted.p8
         cat ec.key rsa.key > two.p8
         cat ec.key ec.pem > both.pem");
    let wrong = "the key is not an APNs auth key: those are EC keys on the curve P-256, in PKCS#8";
    for (file, message, hint) in [
        ("p384.p8", wrong, "as Apple gave it"),
        ("rsa.key", wrong, "as Apple gave it"),
        ("sec1.p8", wrong, "as Apple gave it"),
        ("both.pem", wrong, "belongs to `certificate` and `key`"),
        ("rsa.pem", "there is no APNs auth key in it, only a certificate", "AuthKey_….p8"),
        ("two.p8", "there are several private keys: 2", "leave only the one"),
        ("encrypted.p8", "the APNs auth key is encrypted", "-nocrypt"),
        ("missing.p8", "cannot read the file: No such file or directory (os error 2)", "does not exist"),
    ] {
        let error = Credential::load(&forge.token_file(file)).unwrap_err();
        assert_eq!(forge.message(&error), format!("{file}: {message}"));
        assert!(error.hint().contains(hint), "{file}: {}", error.hint());
    }
}

/// Whatever a damaged file holds, it is an error or still a credential, and never a panic.
#[test]
fn damage_at_any_place() {
    let forge = Forge::new();
    forge.sh(
        "openssl pkcs12 -export -in ec.pem -inkey ec.key -keypbe NONE -certpbe NONE -nomac -passout pass: -out a.p12
         openssl pkcs12 -export -in ec.pem -inkey ec.key -keypbe NONE -certpbe NONE -nomaciter -passout pass: -out b.p12
         openssl x509 -in ec.pem -outform DER -out c.der
         openssl pkey -in ec.key -outform DER -out d.der
         cat ec.pem ec.key > e.pem",
    );
    for (name, key) in
        [("a.p12", None), ("b.p12", None), ("c.der", Some("ec.key")), ("d.der", None), ("e.pem", None)]
    {
        let whole = fs::read(forge.path(name)).unwrap();
        let load = |bytes: &[u8]| {
            fs::write(forge.path("damaged"), bytes).unwrap();
            if let Err(error) = Credential::load(&forge.files("damaged", key, None)) {
                assert!(!error.to_string().is_empty() && !error.hint().is_empty());
            }
        };
        for at in (0..whole.len()).step_by(3) {
            load(&whole[..at]);
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            load(&flipped);
        }
    }
}

/// Runs itself once more, for root may read everything.
#[test]
fn a_file_that_may_not_be_read() {
    const AGAIN: &str = "PUSHMAILD_TEST_BOUND_BY_MODES";
    if env::var_os(AGAIN).is_none() {
        let wrapper = bound_by_modes();
        let this = env::current_exe().unwrap();
        let mut words = wrapper.iter().map(AsRef::as_ref).chain([this.as_os_str()]);
        let status = Command::new(words.next().unwrap())
            .args(words)
            .args(["--exact", "credentials::faults::a_file_that_may_not_be_read"])
            .env(AGAIN, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let forge = Forge::new();
    forge.sh("chmod 000 rsa.key && mkdir closed && cp rsa.key closed/ 2> /dev/null || : && chmod 000 closed");
    for (file, hint) in [("rsa.key", "chmod 640"), ("closed/rsa.key", "/closed` lets this process not in")] {
        let error = Credential::load(&forge.files("rsa.pem", Some(file), None)).unwrap_err();
        assert_eq!(
            forge.message(&error),
            format!("{file}: cannot read the file: Permission denied (os error 13)")
        );
        assert!(error.hint().contains(hint), "{}", error.hint());
    }
    // So that the folder can be removed.
    forge.sh("chmod 700 closed");
}
