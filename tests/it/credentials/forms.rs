//! Every form that has to load, each followed by a handshake.

use std::fs;

use pushmaild::sink::apns::credential::{Credential, Warning};
use rustls::ProtocolVersion;

use super::forge::{Forge, TOPIC};
use super::handshake::handshake;

/// A form, and how it is made. The certificate is always a good one for [`TOPIC`].
struct Form {
    name: &'static str,
    script: &'static str,
    certificate: &'static str,
    key: Option<&'static str>,
    password: Option<&'static str>,
    /// How many certificates the server has to see.
    chain: usize,
}

const fn form(name: &'static str, script: &'static str, certificate: &'static str) -> Form {
    Form { name, script, certificate, key: None, password: None, chain: 1 }
}

impl Form {
    const fn key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    const fn password(self, password: &'static str) -> Self {
        Self { password: Some(password), ..self }
    }

    const fn chain(self, chain: usize) -> Self {
        Self { chain, ..self }
    }
}

fn assert_all_load(forms: &[Form]) {
    let forge = Forge::new();
    let mut failures = Vec::new();
    for form in forms {
        forge.sh(form.script);
        let credential = match Credential::load(&forge.files(form.certificate, form.key, form.password)) {
            Ok(credential) => credential,
            Err(error) => {
                failures.push(format!("{}: {}", form.name, forge.message(&error)));
                continue;
            }
        };
        if credential.topic() != Some(TOPIC) {
            failures.push(format!("{}: the topic is {:?}", form.name, credential.topic()));
        }
        match handshake(&forge, &credential, rustls::ALL_VERSIONS) {
            Ok(seen) if seen.chain == form.chain => {}
            other => failures.push(format!("{}: {other:?}", form.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn pem_and_der() {
    assert_all_load(&[
        form("RSA, PKCS#8, apart", "", "rsa.pem").key("rsa.key"),
        form("RSA, PKCS#1, apart", "openssl rsa -in rsa.key -traditional -out rsa1.key", "rsa.pem")
            .key("rsa1.key"),
        form("EC, PKCS#8, apart", "", "ec.pem").key("ec.key"),
        form("EC, SEC1, apart", "openssl ec -in ec.key -out sec1.key", "ec.pem").key("sec1.key"),
        form("key behind", "cat rsa.pem rsa.key > a.pem", "a.pem"),
        form("key before", "cat rsa.key rsa.pem > b.pem", "b.pem"),
        form("PKCS#1 inside", "cat rsa.pem rsa1.key > c.pem", "c.pem"),
        form("SEC1 inside", "cat sec1.key ec.pem > d.pem", "d.pem"),
        form(
            "with the parameters of the curve",
            "openssl ecparam -name prime256v1 -genkey -out curve.key && certify curve /UID=$topic leaf && cat curve.key curve.pem > e.pem",
            "e.pem",
        ),
        form("the same key in both files", "", "a.pem").key("rsa.key"),
        form("the same file twice", "", "a.pem").key("a.pem"),
        form("a chain", "cat chained.pem middle.pem chained.key > f.pem", "f.pem").chain(2),
        form("a chain with the root", "cat chained.pem middle.pem ca.pem chained.key > g.pem", "g.pem")
            .chain(3),
        form("a chain upside down", "cat ca.pem middle.pem chained.pem chained.key > h.pem", "h.pem")
            .chain(3),
        form("a chain in the key's file", "cat chained.key middle.pem > h.key", "chained.pem")
            .key("h.key")
            .chain(2),
        form("with strangers", "cat server.pem rsa.pem rsa.key middle.pem > i.pem", "i.pem"),
        form("the same certificate twice", "cat rsa.pem rsa.pem rsa.key > j.pem", "j.pem"),
        form("CRLF", "sed 's/$/\\r/' a.pem > k.pem", "k.pem"),
        form("a byte order mark", "{ printf '\\357\\273\\277'; cat a.pem; } > l.pem", "l.pem"),
        form("no line end at the end", "printf %s \"$(cat a.pem)\" > m.pem", "m.pem"),
        form(
            "text as `openssl x509 -text` writes it",
            "openssl x509 -in rsa.pem -text > n.pem && cat rsa.key >> n.pem",
            "n.pem",
        ),
        form(
            "a request beside",
            "openssl req -new -config openssl.cnf -key rsa.key > o.pem && cat a.pem >> o.pem",
            "o.pem",
        ),
        form("a DER certificate", "openssl x509 -in rsa.pem -outform DER -out rsa.cer", "rsa.cer")
            .key("rsa.key"),
        form(
            "a DER key in PKCS#8",
            "openssl pkcs8 -topk8 -nocrypt -in rsa.key -outform DER -out rsa8.der",
            "rsa.cer",
        )
        .key("rsa8.der"),
        form(
            "a DER key in PKCS#1",
            "openssl rsa -in rsa.key -traditional -outform DER -out rsa1.der",
            "rsa.pem",
        )
        .key("rsa1.der"),
        form("a DER key in SEC1", "openssl ec -in ec.key -outform DER -out sec1.der", "ec.pem")
            .key("sec1.der"),
        form("a password for nothing", "", "a.pem").password("sesame"),
    ]);
}

#[test]
fn encrypted_keys() {
    assert_all_load(&[
        form("PKCS#8, AES-256", "openssl pkcs8 -topk8 -v2 aes256 -in rsa.key -passout pass:sesame -out a.key", "rsa.pem")
            .key("a.key")
            .password("sesame\n"),
        form("PKCS#8, AES-192", "openssl pkcs8 -topk8 -v2 aes-192-cbc -in ec.key -passout pass:sesame -out b.key", "ec.pem")
            .key("b.key")
            .password("sesame\r\n"),
        form("PKCS#8, AES-128", "openssl pkcs8 -topk8 -v2 aes-128-cbc -in ec.key -passout pass:sesame -out c.key", "ec.pem")
            .key("c.key")
            .password("sesame"),
        form("PKCS#8, 3DES", "openssl pkcs8 -topk8 -v2 des3 -in rsa.key -passout pass:sesame -out d.key", "rsa.pem")
            .key("d.key")
            .password("sesame"),
        form(
            "PKCS#8, HMAC-SHA1",
            "openssl pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA1 -in rsa.key -passout pass:sesame -out e.key",
            "rsa.pem",
        )
        .key("e.key")
        .password("sesame"),
        form(
            "PKCS#8, HMAC-SHA512, many rounds",
            "openssl pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA512 -iter 100000 -in rsa.key -passout pass:sesame -out f.key",
            "rsa.pem",
        )
        .key("f.key")
        .password("sesame"),
        form(
            "PKCS#8, as PKCS#12 does",
            "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in rsa.key -passout pass:sesame -out g.key",
            "rsa.pem",
        )
        .key("g.key")
        .password("sesame"),
        form(
            "PKCS#8, DER",
            "openssl pkcs8 -topk8 -v2 aes256 -in rsa.key -passout pass:sesame -outform DER -out h.key",
            "rsa.pem",
        )
        .key("h.key")
        .password("sesame"),
        form("traditional, AES-256", "openssl rsa -in rsa.key -traditional -aes256 -passout pass:sesame -out i.key", "rsa.pem")
            .key("i.key")
            .password("sesame"),
        form("traditional, AES-192", "openssl rsa -in rsa.key -traditional -aes192 -passout pass:sesame -out j.key", "rsa.pem")
            .key("j.key")
            .password("sesame"),
        form("traditional, AES-128", "openssl ec -in ec.key -aes128 -passout pass:sesame -out k.key", "ec.pem")
            .key("k.key")
            .password("sesame"),
        form("traditional, 3DES", "openssl ec -in ec.key -des3 -passout pass:sesame -out l.key", "ec.pem")
            .key("l.key")
            .password("sesame"),
        form("inside, CRLF", "cat rsa.pem i.key | sed 's/$/\\r/' > m.pem", "m.pem").password("sesame"),
        form("with blanks and umlauts", "openssl pkcs8 -topk8 -in rsa.key -passout 'pass: zwei Wörter ' -out n.key", "rsa.pem")
            .key("n.key")
            .password(" zwei Wörter \n"),
    ]);
}

#[test]
fn pkcs12() {
    assert_all_load(&[
        form("modern", "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -passout pass:sesame -out a.p12", "a.p12")
            .password("sesame\n"),
        form("modern, EC", "openssl pkcs12 -export -in ec.pem -inkey ec.key -passout pass:sesame -out b.p12", "b.p12")
            .password("sesame"),
        form("an empty password", "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -passout pass: -out c.p12", "c.p12"),
        form("an empty password in a file", "", "c.p12").password("\n"),
        form(
            "no password, no encryption, no seal",
            "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -keypbe NONE -certpbe NONE -nomac -passout pass: -out d.p12",
            "d.p12",
        ),
        form(
            "sealed only",
            "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -keypbe NONE -certpbe NONE -passout pass:sesame -out e.p12",
            "e.p12",
        )
        .password("sesame"),
        form("not sealed", "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -nomac -passout pass:sesame -out f.p12", "f.p12")
            .password("sesame"),
        form("legacy", "openssl pkcs12 -export -legacy -in rsa.pem -inkey rsa.key -passout pass:sesame -out g.p12", "g.p12")
            .password("sesame"),
        form(
            "legacy, an empty password",
            "openssl pkcs12 -export -legacy -in rsa.pem -inkey rsa.key -passout pass: -out h.p12",
            "h.p12",
        ),
        form(
            "legacy, 3DES and RC2-128",
            "openssl pkcs12 -export -legacy -certpbe PBE-SHA1-RC2-128 -in rsa.pem -inkey rsa.key -passout pass:sesame -out i.p12",
            "i.p12",
        )
        .password("sesame"),
        form(
            "legacy, one round",
            "openssl pkcs12 -export -legacy -noiter -nomaciter -in rsa.pem -inkey rsa.key -passout pass:sesame -out j.p12",
            "j.p12",
        )
        .password("sesame"),
        form(
            "umlauts",
            "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -passout 'pass:Schlüssel 😀' -out k.p12",
            "k.p12",
        )
        .password("Schlüssel 😀"),
        form(
            "legacy, umlauts",
            "openssl pkcs12 -export -legacy -in rsa.pem -inkey rsa.key -passout 'pass:Schlüssel 😀' -out l.p12",
            "l.p12",
        )
        .password("Schlüssel 😀"),
        form(
            "SHA-512",
            "openssl pkcs12 -export -macalg SHA512 -in rsa.pem -inkey rsa.key -passout pass:sesame -out m.p12",
            "m.p12",
        )
        .password("sesame"),
        form(
            "a chain",
            "cat middle.pem ca.pem > chain.pem && openssl pkcs12 -export -in chained.pem -inkey chained.key -certfile chain.pem \
             -name 'Apple Push' -passout pass:sesame -out n.p12",
            "n.p12",
        )
        .password("sesame")
        .chain(3),
        form(
            "legacy, a chain",
            "openssl pkcs12 -export -legacy -in chained.pem -inkey chained.key -certfile middle.pem -passout pass:sesame -out o.p12",
            "o.p12",
        )
        .password("sesame")
        .chain(2),
        form("only the certificate", "openssl pkcs12 -export -nokeys -in rsa.pem -passout pass:sesame -out p.p12", "p.p12")
            .key("rsa.key")
            .password("sesame"),
        form(
            "as `openssl pkcs12 -nodes` prints it",
            "openssl pkcs12 -in n.p12 -passin pass:sesame -nodes -out q.pem && grep -q 'Bag Attributes' q.pem",
            "q.pem",
        )
        .chain(3),
    ]);
}

/// Some programs take an empty password for an empty string with its end, and others for nothing at all, which makes another seal. OpenSSL
/// reads both and writes the first, so the seal is made anew.
#[test]
fn pkcs12_with_the_seal_of_an_absent_password() {
    let forge = Forge::new();
    let name = "openssl pkcs12 -export -in rsa.pem -inkey rsa.key -keypbe NONE -certpbe NONE -passout pass: -out a.p12";
    forge.sh(&format!("{name}\nopenssl pkcs12 -in a.p12 -passin pass: -noout"));
    let mut file = fs::read(forge.path("a.p12")).unwrap();
    // The file ends with an OCTET STRING of 32 bytes, the seal, one of 8, the salt, and the number 2048.
    let end = file.len();
    assert_eq!(file[end - 48..end - 46], [0x04, 0x20]);
    assert_eq!(file[end - 14..end - 12], [0x04, 0x08]);
    assert_eq!(file[end - 4..], [0x02, 0x02, 0x08, 0x00]);
    let salt: String = file[end - 12..end - 4].iter().map(|byte| format!("{byte:02x}")).collect();
    let seal = |password: &str| {
        forge.sh(&format!(
            "at=$(openssl asn1parse -inform DER -in a.p12 | grep -m 1 'OCTET STRING' | sed 's/:.*//')
             openssl asn1parse -inform DER -in a.p12 -strparse $at -noout -out content
             key=$(openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexpass:{password} -kdfopt hexsalt:{salt} \
                 -kdfopt iter:2048 -kdfopt id:3 PKCS12KDF | tr -d ':\\n')
             openssl dgst -sha256 -mac HMAC -macopt hexkey:$key -binary -out seal content"
        ));
        fs::read(forge.path("seal")).unwrap()
    };
    assert_eq!(file[end - 46..end - 14], seal("0000"), "what OpenSSL wrote");
    let absent = seal("");
    assert_ne!(file[end - 46..end - 14], absent);
    file[end - 46..end - 14].copy_from_slice(&absent);
    fs::write(forge.path("b.p12"), &file).unwrap();

    for password in [None, Some(""), Some("\n")] {
        let credential = Credential::load(&forge.files("b.p12", None, password)).unwrap();
        assert_eq!(credential.topic(), Some(TOPIC));
    }
    assert!(Credential::load(&forge.files("b.p12", None, Some("x"))).is_err());
}

#[test]
fn http2_over_tls_1_2_and_1_3() {
    let forge = Forge::new();
    forge.sh("cat ec.pem ec.key > both.pem");
    let credential = forge.load("both.pem");
    for version in rustls::ALL_VERSIONS {
        let seen = handshake(&forge, &credential, &[version]).unwrap();
        assert_eq!(seen.version, Some(version.version));
        assert_eq!(seen.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(seen.chain, 1);
    }
    assert!(rustls::ALL_VERSIONS.iter().any(|version| version.version == ProtocolVersion::TLSv1_2));
}

#[test]
fn secrets_that_everybody_can_read_are_worth_a_warning() {
    let forge = Forge::new();
    forge.sh("cat rsa.pem rsa.key > both.pem
         openssl pkcs8 -topk8 -in rsa.key -passout pass:sesame -out encrypted.key
         openssl pkcs12 -export -in rsa.pem -inkey rsa.key -passout pass: -out open.p12
         openssl pkcs12 -export -in rsa.pem -inkey rsa.key -passout pass:sesame -out closed.p12
         chmod 644 open.p12 closed.p12 rsa.pem both.pem rsa.key encrypted.key
         chmod 640 ec.key
         : > password
         chmod 600 password");
    let warnings = |certificate, key, password| {
        Credential::load(&forge.files(certificate, key, password)).unwrap().warnings().to_vec()
    };
    let warning = |name| vec![Warning::ReadableByAll(forge.path(name))];
    assert_eq!(warnings("both.pem", None, None), warning("both.pem"));
    assert_eq!(warnings("rsa.pem", Some("rsa.key"), None), warning("rsa.key"));
    assert_eq!(warnings("rsa.pem", Some("encrypted.key"), Some("sesame")), []);
    assert_eq!(warnings("ec.pem", Some("ec.key"), None), []);
    assert_eq!(warnings("open.p12", None, None), warning("open.p12"));
    assert_eq!(warnings("closed.p12", None, Some("sesame")), []);
    forge.sh("chmod 644 password");
    assert_eq!(warnings("rsa.pem", Some("encrypted.key"), Some("sesame")), warning("password"));
}
