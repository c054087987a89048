//! How a length of time is written.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// A length of time, written `250ms`, `2s`, `1m`, `1h`, `180d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// Longer ones are mistakes, and would overflow the clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes such as \"250ms\", \"2s\", \"1m\", \"1h\" or \"180d\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                let duration = humantime::parse_duration(text)
                    .map_err(|_| E::custom(format_args!("`{text}` is not a duration")))?;
                if duration > LONGEST {
                    return Err(E::custom(format_args!("`{text}` is longer than a year")));
                }
                Ok(Span(duration))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
