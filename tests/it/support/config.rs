//! The configuration of one daemon under test, as keys that a test can set one by one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A `pushmaild.toml` to be: tables of keys, each with its value as TOML writes it.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    path: PathBuf,
    tables: BTreeMap<String, BTreeMap<String, String>>,
}

impl Config {
    /// A configuration without any key, to be written to `path`.
    pub(crate) fn empty(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), tables: BTreeMap::new() }
    }

    /// Sets a key to a string: `config.set("debounce.change-quiet", "1h")`.
    #[must_use]
    pub(crate) fn set(self, key: &str, value: &str) -> Self {
        // JSON's string syntax is a subset of TOML's basic strings.
        self.set_raw(key, &serde_json::Value::from(value).to_string())
    }

    /// Sets a key to any TOML value: `config.set_raw("debounce.catch-up-rate", "500")`.
    #[must_use]
    pub(crate) fn set_raw(mut self, key: &str, value: &str) -> Self {
        let (table, key) = split(key);
        let keys = self.tables.entry(table.to_owned()).or_default();
        keys.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Takes a key out again.
    #[must_use]
    pub(crate) fn unset(mut self, key: &str) -> Self {
        let (table, key) = split(key);
        if let Some(keys) = self.tables.get_mut(table) {
            keys.remove(key);
        }
        self
    }

    /// Takes a whole table out.
    #[must_use]
    pub(crate) fn without(mut self, table: &str) -> Self {
        self.tables.remove(table);
        self
    }

    /// The same configuration in another file.
    #[must_use]
    pub(crate) fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = path.into();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        for (table, keys) in &self.tables {
            writeln!(text, "[{table}]").expect("a String takes all text");
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").expect("a String takes all text");
            }
        }
        text
    }

    /// Writes the file; a running daemon reads it at its next [`reload`](super::Daemon::reload).
    pub(crate) fn write(&self) {
        fs::write(&self.path, self.to_toml()).expect("the configuration file can be written");
    }
}

/// The table and the key in it.
fn split(key: &str) -> (&str, &str) {
    key.split_once('.').expect("a key has the form table.key")
}
