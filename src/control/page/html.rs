//! HTML that cannot be forged: what is not written in the program's own text is escaped.

use std::fmt::{self, Display, Write};

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup, as it stands in the program.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Anything else, between tags or in a quoted attribute.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // A String takes all text.
        let _ = write!(Escape(&mut self.0), "{text}");
        self
    }

    /// A number that people read, in groups of three digits.
    pub(super) fn count(&mut self, number: u64) -> &mut Self {
        self.text(Grouped(number))
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

/// `12 345`, with a narrow space that does not break.
#[derive(PartialEq)]
pub(super) struct Grouped(pub(super) u64);

impl From<bool> for Grouped {
    fn from(one: bool) -> Self {
        Self(one.into())
    }
}

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_escaped() {
        let mut html = Html::default();
        html.raw("<b title=\"")
            .text("\"' onclick=x")
            .raw("\">")
            .text("<script>&")
            .raw("</b>")
            .count(1_234_567);
        let expected = "<b title=\"&quot;&#39; onclick=x\">&lt;script&gt;&amp;</b>1\u{202f}234\u{202f}567";
        assert_eq!(html.finish(), expected);
        assert_eq!([0, 12, 123, 1000].map(|n| Grouped(n).to_string()), ["0", "12", "123", "1\u{202f}000"]);
    }
}
