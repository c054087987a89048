//! The end of what a program printed, for the line that says that it failed: a few hundred bytes, however much came before. Pure.

use crate::plain::plain;

/// The most bytes that are kept.
const KEPT: usize = 400;

/// The last bytes of an output.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: Vec<u8>,
    is_cut: bool,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(KEPT)..];
        let too_many = (self.kept.len() + new.len()).saturating_sub(KEPT);
        self.is_cut |= too_many > 0 || new.len() < bytes.len();
        self.kept.drain(..too_many);
        self.kept.extend_from_slice(new);
    }

    /// One line for the log, without control characters: a program must not forge lines.
    pub(super) fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        // What is left of a character that was cut in two says nothing.
        let text = if self.is_cut { text.trim_start_matches('\u{fffd}') } else { &text };
        let mut line = String::from(if self.is_cut { "…" } else { "" });
        for (number, part) in text.trim().lines().enumerate() {
            line.push_str(if number > 0 { " / " } else { "" });
            line.push_str(&plain(&part.trim_end().replace('\t', " ")));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pieces: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        pieces.iter().for_each(|piece| tail.push(piece));
        tail.line()
    }

    #[test]
    fn a_short_output_is_kept_and_a_long_one_ends() {
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[b"no such ", b"file\n"]), "no such file");
        assert_eq!(line(&[b"one\ntwo\r\n\x1b[31mthree\xff\n"]), "one / two / \\u{1b}[31mthree\u{fffd}");
        for pieces in [&[&[b'x'; 5000][..], b"end"][..], &[&[b'y'; 300], &[b'y'; 300], b"end"]] {
            let line = line(pieces);
            assert!(line.starts_with('…') && line.ends_with("end"), "{line}");
            assert_eq!(line.chars().count(), KEPT + 1);
        }
    }

    #[test]
    fn a_character_is_not_shown_in_part() {
        let text = "é".repeat(KEPT);
        assert_eq!(line(&[text.as_bytes(), b"!"]), format!("…{}!", "é".repeat(KEPT / 2 - 1)));
    }
}
