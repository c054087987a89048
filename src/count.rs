//! Numbers of things in words: `1 mailbox`, `3 mailboxes`. Pure.

use std::fmt::Display;

/// A number of things, of any type of numbers: `N::from(true)` is one.
pub(crate) fn count<N: Display + PartialEq + From<bool>>(number: N, one: &str, many: &str) -> String {
    let things = if number == N::from(true) { one } else { many };
    format!("{number} {things}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        for (number, text) in [(0_u32, "0 entries"), (1, "1 entry"), (2, "2 entries"), (11, "11 entries")] {
            assert_eq!(count(number, "entry", "entries"), text);
            assert_eq!(count(u64::from(number), "entry", "entries"), text);
        }
    }
}
