//! What a certificate says: its topic, its environments, and until when it is good.

use std::time::{Duration, SystemTime};

use pushmaild::sink::apns::credential::{
    Credential, CredentialFiles, Environment, Environments, Problem, Warning, roots,
};

use super::forge::{Forge, TOPIC};
use super::handshake::handshake;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes `NAME.pem`, with its key inside, for a subject and with more lines of extensions.
fn make(forge: &Forge, name: &str, subject: &str, extensions: &str) -> Credential {
    forge.sh(&format!(
        "{{ cat openssl.cnf; printf '[mine]\\n{extensions}\\n'; }} > mine.cnf
         openssl req -new -x509 -utf8 -config mine.cnf -CA ca.pem -CAkey ca.key -key ec.key -subj '{subject}' \
             -multivalue-rdn -extensions mine -days 30 -out {name}.pem 2> /dev/null
         cat ec.key >> {name}.pem"
    ));
    forge.load(&format!("{name}.pem"))
}

const SANDBOX: &str = "1.2.840.113635.100.6.3.1 = DER:0500";
const PRODUCTION: &str = "1.2.840.113635.100.6.3.2 = DER:0500";

#[test]
fn environments_are_read_from_their_marks() {
    let forge = Forge::new();
    for (name, extensions, production, sandbox) in [
        ("neither", "basicConstraints = CA:FALSE".to_owned(), false, false),
        ("production", PRODUCTION.to_owned(), true, false),
        ("sandbox", SANDBOX.to_owned(), false, true),
        ("both", format!("{SANDBOX}\\n{PRODUCTION}"), true, true),
    ] {
        let credential = make(&forge, name, &format!("/UID={TOPIC}/CN=x"), &extensions);
        let environments = credential.environments().unwrap();
        assert_eq!(environments, Environments { production, sandbox }, "{name}");
        assert_eq!(environments.contains(Environment::Production), production);
        assert_eq!(environments.contains(Environment::Sandbox), sandbox);
        assert_eq!(credential.topic(), Some(TOPIC));
    }
}

#[test]
fn the_topic_is_found_in_any_part_of_the_subject() {
    let forge = Forge::new();
    let server = "com.apple.mail.XServer.5f0ba2e0-0b5b-4bd2-9f0c-1d5c5c2c0f5a";
    for (name, subject, topic) in [
        ("first", format!("/UID={TOPIC}/CN=x/C=US"), Some(TOPIC)),
        ("last", format!("/C=US/CN=x/UID={TOPIC}"), Some(TOPIC)),
        ("shared", format!("/C=US/CN=x+UID={TOPIC}/O=y"), Some(TOPIC)),
        ("server", format!("/UID={server}/CN=APSP:x"), Some(server)),
        ("none", "/CN=x".to_owned(), None),
        ("odd", "/UID=with blank/CN=x".to_owned(), None),
    ] {
        let credential = make(&forge, name, &subject, PRODUCTION);
        assert_eq!(credential.topic(), topic, "{name}");
        assert_eq!(credential.topics(), topic.as_slice(), "{name}");
    }
}

#[test]
fn the_subject_is_fit_for_a_log() {
    let forge = Forge::new();
    let credential = make(&forge, "subject", "/CN=a\u{85}b/O=c, d/UID=org.example", PRODUCTION);
    assert_eq!(credential.subject(), "UID=org.example,O=c\\, d,CN=a\u{fffd}b");
    assert_eq!(
        format!("{credential:?}"),
        format!("Credential {{ subject: {:?}, .. }}", credential.subject())
    );
}

#[test]
fn more_topics_are_listed_in_an_extension() {
    let forge = Forge::new();
    // As in Apple's certificates: a topic, and then what it is for.
    let list = format!(
        "1.2.840.113635.100.6.3.6 = ASN1:SEQUENCE:topics\\n\
         [topics]\\n1 = UTF8:{TOPIC}\\n2 = SEQUENCE:app\\n3 = UTF8:{TOPIC}.voip\\n4 = SEQUENCE:voip\\n\
         [app]\\n1 = UTF8:app\\n[voip]\\n1 = UTF8:voip"
    );
    let credential = make(&forge, "listed", &format!("/UID={TOPIC}/CN=x"), &list);
    assert_eq!(credential.topic(), Some(TOPIC));
    assert_eq!(credential.topics(), [TOPIC.to_owned(), format!("{TOPIC}.voip")]);

    let odd = "1.2.840.113635.100.6.3.6 = DER:0c0568656c";
    let credential = make(&forge, "odd", &format!("/UID={TOPIC}/CN=x"), odd);
    assert_eq!(credential.topics(), [TOPIC], "what is not understood is passed over");
}

#[test]
fn time_makes_a_certificate_a_problem_and_not_an_error() {
    let forge = Forge::new();
    forge.sh(
        "cat ec.pem ec.key > good.pem
         printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\nnew_certs_dir=.\\nrand_serial=yes\\npolicy=p\\ndefault_md=sha256\\n[p]\\nUID=optional\\n' > ca.cnf
         openssl req -new -config openssl.cnf -key ec.key -subj /UID=$topic -out ec.csr
         sign() {
             : > index
             openssl ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -startdate $2 -enddate $3 -in ec.csr -out $1 2> ca.log
             cat ec.key >> $1
         }
         sign expired.pem 20200101000000Z 20210101000000Z
         sign early.pem 21000101000000Z 21010101000000Z",
    );
    let now = SystemTime::now();
    let good = forge.load("good.pem");
    assert_eq!(good.problem_at(now), None);
    assert!(matches!(good.days_left(now), Some(29 | 30)));
    assert_eq!(good.days_left(now + 15 * DAY), good.days_left(now).map(|days| days - 15));
    assert!(matches!(good.problem_at(now - DAY), Some(Problem::NotYetValid(_))));
    assert!(matches!(good.problem_at(now + 31 * DAY), Some(Problem::Expired(_))));
    assert_eq!(good.validity().unwrap().not_after, good.validity().unwrap().not_before + 30 * DAY);

    let expired = forge.load("expired.pem");
    assert_eq!(expired.topic(), Some(TOPIC));
    assert_eq!(expired.days_left(now), Some(0));
    let problem = expired.problem_at(now).unwrap();
    assert_eq!(problem.to_string(), "the certificate expired at 2021-01-01T00:00:00Z");
    assert!(problem.hint().contains("developer.apple.com"));
    assert!(handshake(&forge, &expired, rustls::ALL_VERSIONS).is_err(), "the server would not have it");

    let problem = forge.load("early.pem").problem_at(now).unwrap();
    assert_eq!(problem.to_string(), "the certificate is not valid before 2100-01-01T00:00:00Z");
    assert!(problem.hint().contains("clock"));
}

#[test]
fn all_files_are_named_for_whoever_watches_them() {
    let forge = Forge::new();
    let paths = |files: CredentialFiles| files.paths().map(ToOwned::to_owned).collect::<Vec<_>>();
    assert_eq!(paths(forge.files("a", None, None)), [forge.path("a")]);
    assert_eq!(paths(forge.files("a", Some("b"), None)), [forge.path("a"), forge.path("b")]);
    assert_eq!(
        paths(forge.files("a", Some("b"), Some("c"))),
        [forge.path("a"), forge.path("b"), forge.path("password")]
    );
    assert_eq!(paths(forge.token_file("k")), [forge.path("k")]);
}

#[test]
fn a_file_of_authorities_is_all_that_is_trusted() {
    let forge = Forge::new();
    forge.sh(
        "openssl x509 -in ca.pem -outform DER -out ca.der
         cat ca.pem middle.pem > two.pem
         openssl req -new -x509 -config openssl.cnf -key ec.key -subj '/CN=authority' -extensions authority -out stranger.pem
         cat ec.pem ec.key > both.pem",
    );
    assert!(roots(None).unwrap().len() > 50, "all that Mozilla trusts");
    for (file, number) in [("ca.pem", 1), ("ca.der", 1), ("two.pem", 2)] {
        assert_eq!(roots(Some(&forge.path(file))).unwrap().len(), number, "{file}");
    }
    // Another key than the one that made the server's certificate, under the same name.
    let credential = forge.load("both.pem");
    assert!(handshake(&forge, &credential, rustls::ALL_VERSIONS).is_ok());
    forge.sh("cp ca.pem real.pem && cp stranger.pem ca.pem");
    assert!(handshake(&forge, &credential, rustls::ALL_VERSIONS).is_err());

    forge.sh("printf 'x' > noise && cp ec.key only.key");
    for (file, message) in [
        ("noise", "noise: the file is neither PEM nor DER nor PKCS#12"),
        ("only.key", "only.key: there is no certificate in it, only a private key"),
        ("none", "none: cannot read the file: No such file or directory (os error 2)"),
    ] {
        let error = roots(Some(&forge.path(file))).unwrap_err();
        assert_eq!(forge.message(&error), message);
    }
}

#[test]
fn odd_numbers_of_keys_are_worth_a_warning() {
    let forge = Forge::new();
    forge.sh("chmod 600 ec.key");
    let load = |key_id: &str| {
        let files = CredentialFiles::Token {
            key_file: forge.path("ec.key"),
            key_id: key_id.to_owned(),
            team_id: "DEF123GHIJ".to_owned(),
        };
        Credential::load(&files).unwrap().warnings().to_vec()
    };
    assert_eq!(load("ABC123DEFG"), []);
    let value = "AuthKey".to_owned();
    assert_eq!(load("AuthKey"), [Warning::OddId { name: "key-id", value }]);
}
