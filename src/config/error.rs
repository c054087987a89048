//! What is wrong with a configuration file, where, and what to do about it.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The one error of the configuration, with its remedy apart from its cause.
#[derive(Debug, Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    place: Place,
    message: String,
    hint: String,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Line and column, both counted from 1.
    at: Option<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.at.map_or(Ok(()), |(line, column)| write!(f, ":{line}:{column}"))
    }
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    pub(super) fn unreadable(path: &Path, error: io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => {
                "name the file with `-c FILE`, or start from one of the examples".to_owned()
            }
            _ => crate::path_access::hint(path, &error),
        };
        Self::whole(path, format!("cannot read the configuration: {error}"), hint)
    }

    /// Wrong as a whole rather than in one place.
    pub(super) fn whole(path: &Path, message: String, hint: String) -> Self {
        Self { place: Place { path: path.to_owned(), at: None }, message, hint }
    }

    pub(super) fn at(path: &Path, text: &str, span: Range<usize>, message: String, hint: String) -> Self {
        let before = text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { place: Place { path: path.to_owned(), at: Some((line, column)) }, message, hint }
    }

    /// What the TOML parser or serde found.
    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let (mut message, hint) = explain(error.message());
        let span = error.span().unwrap_or_default();
        let start = span.start;
        // The parser does not say which one; the place has it.
        if let ("duplicate key", Some(key)) = (message.as_str(), text.get(span)) {
            message = format!("duplicate key `{key}`");
        }
        Self::at(path, text, start..start, message, hint)
    }
}

/// Says what serde says in the words of the documents, and adds what to do.
fn explain(message: &str) -> (String, String) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let unknown = quoted.next().unwrap_or(rest);
        let known: Vec<&str> = quoted.collect();
        return (format!("unknown key `{unknown}`"), suggest(unknown, &known));
    }
    if message.starts_with("unknown variant ") {
        let unknown = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        return (format!("unknown value `{unknown}`"), suggest(unknown, &known));
    }
    if message.starts_with("missing field ") {
        let missing = quoted.next().unwrap_or_default();
        return (format!("the key `{missing}` is missing here"), format!("add a line `{missing} = …`"));
    }
    if ["is not a duration", "expected a duration", "is longer than a year"]
        .iter()
        .any(|bad| message.contains(bad))
    {
        return (
            message.to_owned(),
            "write it in quotes, as in \"250ms\", \"2s\", \"1m\", \"1h\" or \"180d\"".to_owned(),
        );
    }
    if message.starts_with("the sweep") {
        return (message.to_owned(), "use `1s` or more, or `off`".to_owned());
    }
    if let Some((found, expected)) = message.split_once(", expected ")
        && (found.starts_with("invalid type: ") || found.starts_with("invalid value: "))
    {
        let expected = match expected {
            "u32" => "a whole number that is not negative",
            "path string" => "a path in quotes",
            "a string" => "text in quotes",
            "a map" => "a table, as in `{ key = \"value\" }`",
            _ if expected.starts_with("struct ") => "a table",
            other => other,
        };
        return (
            format!("{found}, expected {expected}"),
            "see the key in the example configuration for what it takes".to_owned(),
        );
    }
    if message.starts_with("duplicate key") {
        return (message.to_owned(), "each key and each table may be there only once".to_owned());
    }
    (
        message.to_owned(),
        "the file is TOML: `key = \"value\"` lines below `[table]` lines; text stands in quotes".to_owned(),
    )
}

fn suggest(unknown: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(unknown, known), known))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .filter(|(likeness, _)| *likeness > 0.8);
    match nearest {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}
