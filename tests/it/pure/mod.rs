//! The pure parts: cases as data, known answers, and properties.

mod classifier;
mod corpus;
mod debouncer;
mod dialects;
mod listing;
mod templates;
mod xaps;

/// The cases of a file: each a title, and its lines with their numbers.
fn cases(text: &str) -> Vec<(&str, Vec<(usize, &str)>)> {
    let mut cases: Vec<(&str, Vec<(usize, &str)>)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(title) = line.strip_prefix("## ") {
            cases.push((title, Vec::new()));
        } else if !line.is_empty() && !line.starts_with('#') {
            cases.last_mut().expect("a title before the first line").1.push((number, line));
        }
    }
    assert!(!cases.is_empty());
    cases
}
