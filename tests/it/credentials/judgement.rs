//! Is a credential good? What `check` and `doctor` say of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pushmaild::sink::apns::credential::{Credential, Environment, Problem, Warning};
use pushmaild::sink::apns::judgement::{ENDS_SOON, Finding, judge};
use pushmaild::sink::apns::settings::Loaded;

use super::forge::{Forge, TOPIC};

fn loaded(credential: Credential) -> Loaded {
    Loaded { credential: Arc::new(credential), environment: Environment::Production, mismatch: None }
}

#[test]
fn a_certificate_is_good_until_its_end_is_near() {
    let forge = Forge::new();
    // It has 30 days, so more are only left on a day before it was made: there it is not valid yet.
    forge.sh("cat ec.pem ec.key > good.pem; chmod 600 good.pem");
    let good = loaded(forge.load("good.pem"));
    let end = good.credential.validity().expect("it is a certificate").not_after;
    let days = |days: u64| end - Duration::from_secs(days * 24 * 60 * 60);
    let at = |now: SystemTime| judge(&good, Some(TOPIC), now);
    for left in [0, 1, ENDS_SOON] {
        assert_eq!(at(days(left)), [Finding::EndsSoon(left)]);
    }
    assert_eq!(at(days(1))[0].to_string(), "the certificate ends in 1 day");
    assert_eq!(at(days(2))[0].to_string(), "the certificate ends in 2 days");
    let early = at(days(ENDS_SOON + 1));
    assert!(matches!(early[..], [Finding::Time(Problem::NotYetValid(_))]), "{early:?}");
    let late = at(end + Duration::from_secs(1));
    assert!(matches!(late[..], [Finding::Time(Problem::Expired(_))]), "{late:?}");
    assert!(late[0].is_fatal() && !at(days(1))[0].is_fatal());

    forge.sh(
        "openssl req -new -x509 -config openssl.cnf -key ec.key -subj /UID=$topic -days 400 -out long.pem
         cat ec.key >> long.pem; chmod 600 long.pem",
    );
    let long = loaded(forge.load("long.pem"));
    assert_eq!(judge(&long, Some(TOPIC), SystemTime::now()), [], "nothing is to be said of it");
}

#[test]
fn the_topic_has_to_be_the_certificates_own_and_one_of_mail() {
    let forge = Forge::new();
    forge.sh("cat ec.pem ec.key > good.pem; chmod 600 good.pem");
    let mut good = loaded(forge.load("good.pem"));
    let now = good.credential.validity().expect("it is a certificate").not_after - Duration::from_secs(60);
    let soon = Finding::EndsSoon(0);
    assert_eq!(judge(&good, None, now), [Finding::NoTopic, soon.clone()], "what is fatal comes first");
    let other = "com.apple.mobilemail.push.other";
    let is_other = Finding::OtherTopic { topic: other.to_owned(), own: vec![TOPIC.to_owned()] };
    assert_eq!(judge(&good, Some(other), now), [is_other, soon.clone()]);
    good.mismatch = Some("the certificate is not for the environment `sandbox`".to_owned());
    let mismatch = Finding::Environment("the certificate is not for the environment `sandbox`".to_owned());
    assert_eq!(judge(&good, Some(TOPIC), now), [mismatch, soon]);

    forge.sh("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out AuthKey.p8; chmod 644 AuthKey.p8");
    let token = loaded(Credential::load(&forge.token_file("AuthKey.p8")).expect("a key"));
    let open = Finding::Files(Warning::ReadableByAll(forge.path("AuthKey.p8")));
    let app = "org.example.app";
    assert_eq!(judge(&token, Some(app), now), [Finding::NotOfMail(app.to_owned()), open.clone()]);
    assert_eq!(judge(&token, Some(TOPIC), now), [open], "it is good for any topic, and does not end");
}
