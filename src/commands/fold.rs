//! Lines that are longer than the terminal is wide, folded so that a table stays one.

/// Folds each line at blanks. What does not fit goes on below its column: where the first two blanks in a row end, if that is near the
/// margin, else where the line begins. Colours take no room. A word that is longer than a line stays whole.
pub(super) fn fold(text: &str, width: usize) -> String {
    let mut folded = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let indent = column(line).min(width / 2);
        let mut at = 0;
        for word in line.split_inclusive(' ') {
            let length = visible(word.trim_end());
            // Further to the left there is no room either.
            if length > 0 && at > indent && at + length > width {
                folded.truncate(folded.trim_end_matches(' ').len());
                folded.push('\n');
                folded.extend(std::iter::repeat_n(' ', indent));
                at = indent;
            }
            folded.push_str(word);
            at += visible(word);
        }
    }
    folded
}

/// Where what a line has to say begins.
fn column(line: &str) -> usize {
    /// Beyond it are gaps of a wide table.
    const MARGIN: usize = 20;
    let blanks = line.len() - line.trim_start_matches(' ').len();
    let after = |at: usize| line[at..].len() - line[at..].trim_start_matches(' ').len();
    match line[blanks..].find("  ") {
        Some(gap) if blanks == 0 => {
            let column = visible(&line[..gap]) + after(gap);
            if column <= MARGIN { column } else { 0 }
        }
        _ => blanks,
    }
}

/// How many places a text takes on a terminal: not its colours, nor line ends.
fn visible(text: &str) -> usize {
    let mut is_colour = false;
    let letters = text.chars().filter(|letter| match (is_colour, letter) {
        (false, '\x1b') => {
            is_colour = true;
            false
        }
        (true, 'm') => {
            is_colour = false;
            false
        }
        (is_colour, letter) => !is_colour && !letter.is_control(),
    });
    letters.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays() {
        for text in ["", "\n", "one two\n\nthree\n", "   hint: x\n", "a  b"] {
            assert_eq!(fold(text, 10), text);
        }
        assert_eq!(fold("exactly 10\n", 10), "exactly 10\n");
    }

    #[test]
    fn what_does_not_fit_goes_on_below_its_column() {
        assert_eq!(fold("map  one two three\n", 12), "map  one two\n     three\n");
        assert_eq!(fold("  hint: one two\n", 12), "  hint: one\n  two\n");
        assert_eq!(fold("problem: no gap here\n", 12), "problem: no\ngap here\n");
    }

    #[test]
    fn colours_take_no_room_and_letters_one_place_each() {
        assert_eq!(fold("\x1b[32m✔\x1b[0m a  üü üü üü\n", 10), "\x1b[32m✔\x1b[0m a  üü üü\n     üü\n");
    }

    #[test]
    fn a_word_that_is_too_long_stays_whole() {
        assert_eq!(fold("at  /a/very/long/path x\n", 10), "at  /a/very/long/path\n    x\n");
        assert_eq!(fold("/a/very/long/path\n", 4), "/a/very/long/path\n");
    }
}
