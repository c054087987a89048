//! Who a client is by its certificate: the topics it may push to, and the service it may use.

use x509_parser::{
    certificate::X509Certificate,
    der_parser::{asn1_rs::Tag, ber::BerObject, der::parse_der, oid::Oid},
    prelude::FromDer,
};

/// The attribute of the subject that is the topic (RFC 4519, section 2.39).
pub(crate) const UID: [u64; 7] = [0, 9, 2342, 19200300, 100, 1, 1];
/// Apple's extensions for push, each with one more number.
pub(crate) const EXTENSIONS: [u64; 7] = [1, 2, 840, 113635, 100, 6, 3];
pub(crate) const SANDBOX: u64 = 1;
pub(crate) const PRODUCTION: u64 = 2;
/// The list of topics of a certificate that has more than the one in the UID.
pub(crate) const TOPICS: u64 = 6;

/// What a certificate allows.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// The first is that of the UID.
    pub(crate) topics: Vec<String>,
    pub(crate) production: bool,
}

impl Identity {
    /// Reads a certificate whose signature was checked. One that cannot be read allows nothing.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        let mut identity = Self::default();
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return identity };
        let Ok(uid) = Oid::from(&UID) else { return identity };
        for attribute in certificate.subject().iter_attributes() {
            if *attribute.attr_type() == uid
                && let Ok(topic) = attribute.as_str()
            {
                identity.add(topic);
            }
        }
        for extension in certificate.extensions() {
            let Some(numbers) = extension.oid.iter().map(Iterator::collect::<Vec<u64>>) else { continue };
            match numbers.strip_prefix(&EXTENSIONS) {
                Some([PRODUCTION]) => identity.production = true,
                Some([TOPICS]) => {
                    for topic in strings(extension.value) {
                        identity.add(&topic);
                    }
                }
                _ => {}
            }
        }
        identity
    }

    fn add(&mut self, topic: &str) {
        if !self.topics.iter().any(|known| known == topic) {
            self.topics.push(topic.to_owned());
        }
    }
}

/// The strings of a sequence, and not those of the sequences in it: they say what kind of topic it is.
fn strings(der: &[u8]) -> Vec<String> {
    let Ok((_, list)) = parse_der(der) else { return Vec::new() };
    let items = list.as_sequence().map(Vec::as_slice).unwrap_or_default();
    let strings = items.iter().filter(|item| item.tag() == Tag::Utf8String).map(BerObject::as_str);
    strings.filter_map(|string| Some(string.ok()?.to_owned())).collect()
}
