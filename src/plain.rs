//! Text that others chose, such as where a link in somebody's home leads, before it is shown to an administrator. Pure.

use std::borrow::Cow;

/// The text with its control characters written out: a terminal must not obey them, and a line of a log stays one.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            _ if character.is_control() => plain.extend(character.escape_default()),
            _ => plain.push(character),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out_and_nothing_else_is() {
        assert_eq!(plain("o'brien \"jo\" \\ ü"), "o'brien \"jo\" \\ ü");
        assert_eq!(plain("a\x1b]0;b\x07\nc\u{9b}d\x7f"), "a\\u{1b}]0;b\\u{7}\\nc\\u{9b}d\\u{7f}");
    }
}
