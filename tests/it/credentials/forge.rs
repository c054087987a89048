//! A folder in which OpenSSL makes keys and certificates.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use pushmaild::sink::apns::credential::{Credential, CredentialError, CredentialFiles};
use tempfile::TempDir;

/// The topic of the certificates that [`Forge::new`] makes.
pub(crate) const TOPIC: &str = "com.apple.mobilemail.push.org.example";

/// So that nothing of the machine's own configuration matters. The extensions are those of Apple's certificates.
const CONFIG: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = example
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[leaf]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
1.2.840.113635.100.6.3.2 = DER:0500
[server]
subjectAltName = DNS:localhost
[bare]
basicConstraints = CA:FALSE
";

/// `certify NAME SUBJECT EXTENSIONS` makes `NAME.pem` for `NAME.key`, as the authority `$by` or the root does. Keys are made unencrypted, in
/// PKCS#8, unless a test says otherwise.
const PRELUDE: &str = r#"
set -eu
certify() {
    openssl req -new -x509 -config openssl.cnf -CA "${by:-ca}.pem" -CAkey "${by:-ca}.key" -key "$1.key" \
        -subj "$2" -extensions "$3" -days 30 -out "$1.pem"
}
rsa() { openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1" 2> /dev/null; }
ec() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
"#;

const FIRST: &str = r#"
for name in ca server ec middle chained; do ec $name.key; done
rsa rsa.key
openssl req -new -x509 -config openssl.cnf -key ca.key -subj '/CN=authority' -extensions authority -days 30 -out ca.pem
certify server /CN=localhost server
certify rsa "/UID=$topic/CN=Apple Push Services: $topic/C=US" leaf
certify ec "/UID=$topic/CN=Apple Push Services: $topic/C=US" leaf
certify middle /CN=middle authority
by=middle certify chained "/UID=$topic/CN=chained" leaf
"#;

/// The folder: `rsa.pem`, `ec.pem` and their `.key` files are good for [`TOPIC`], made by `ca.pem`; `chained.pem` is made by `middle.pem`, which
/// is made by `ca.pem`; `server.pem` is for the other end.
pub(crate) struct Forge {
    folder: TempDir,
}

impl Forge {
    pub(crate) fn new() -> Self {
        let forge = Self { folder: TempDir::new().unwrap() };
        fs::write(forge.path("openssl.cnf"), CONFIG).unwrap();
        forge.sh(FIRST);
        forge
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a script in the folder, and returns what it prints.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = Command::new("sh")
            .args(["-c", &format!("{PRELUDE}{script}")])
            .current_dir(self.folder.path())
            .env("topic", TOPIC)
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The files with these names; of the password, its content.
    pub(crate) fn files(
        &self,
        certificate: &str,
        key: Option<&str>,
        password: Option<&str>,
    ) -> CredentialFiles {
        if let Some(password) = password {
            fs::write(self.path("password"), password).unwrap();
        }
        CredentialFiles::Certificate {
            certificate: self.path(certificate),
            key: key.map(|key| self.path(key)),
            password_file: password.map(|_| self.path("password")),
        }
    }

    pub(crate) fn token_file(&self, key_file: &str) -> CredentialFiles {
        CredentialFiles::Token {
            key_file: self.path(key_file),
            key_id: "ABC123DEFG".to_owned(),
            team_id: "DEF123GHIJ".to_owned(),
        }
    }

    /// Loads a certificate that is good.
    #[track_caller]
    pub(crate) fn load(&self, certificate: &str) -> Credential {
        let files = self.files(certificate, None, None);
        Credential::load(&files).unwrap_or_else(|error| panic!("{error}\nhint: {}", error.hint()))
    }

    /// The message of an error, with names of files in place of paths.
    pub(crate) fn message(&self, error: &CredentialError) -> String {
        error.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}
