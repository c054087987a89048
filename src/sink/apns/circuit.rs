//! The circuit: open while Apple refuses the credential. Everything is kept then, and one push a minute asks whether it is better. Pure.

use std::time::{Duration, Instant};

/// How often an open circuit is tried. Apple takes many failed tries for an attack.
pub const PROBE: Duration = Duration::from_secs(60);

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Everything.
    All,
    /// One push, to see whether it is accepted.
    Probe,
    /// Nothing before this time.
    NotBefore(Instant),
}

/// The circuit.
#[derive(Clone, Debug, Default)]
pub struct Circuit(Option<Open>);

#[derive(Clone, Debug)]
struct Open {
    reason: String,
    next_probe: Instant,
}

impl Circuit {
    /// Why it is open.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.0.as_ref().map(|open| open.reason.as_str())
    }

    /// What may be sent now.
    #[must_use]
    pub fn allows(&self, now: Instant) -> Allowed {
        match &self.0 {
            None => Allowed::All,
            Some(open) if open.next_probe <= now => Allowed::Probe,
            Some(open) => Allowed::NotBefore(open.next_probe),
        }
    }

    /// The credential was refused. True if that is news: another reason than before, or none before.
    pub fn refused(&mut self, reason: &str, now: Instant) -> bool {
        let is_news = self.reason() != Some(reason);
        self.0 = Some(Open { reason: reason.to_owned(), next_probe: now + PROBE });
        is_news
    }

    /// A probe is on its way; without an answer there is another one after the usual time.
    pub fn probing(&mut self, now: Instant) {
        if let Some(open) = &mut self.0 {
            open.next_probe = now + PROBE;
        }
    }

    /// The credential was accepted, or there is a new one. True if it was open.
    pub fn close(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_a_minute_until_one_is_accepted() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        assert_eq!(circuit.allows(start), Allowed::All);
        assert!(circuit.refused("403 BadCertificate", start), "the first time is news");
        assert_eq!(circuit.allows(start), Allowed::NotBefore(start + PROBE));
        assert_eq!(circuit.allows(start + PROBE), Allowed::Probe);
        circuit.probing(start + PROBE);
        assert_eq!(circuit.allows(start + PROBE), Allowed::NotBefore(start + 2 * PROBE));
        assert!(!circuit.refused("403 BadCertificate", start + PROBE), "no news");
        assert!(circuit.refused("certificate expired", start + PROBE));
        assert!(circuit.close());
        assert_eq!(circuit.allows(start), Allowed::All);
    }
}
