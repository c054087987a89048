//! docs/configuration.md is made from the comments of src/config/, and this is what makes it.
//!
//! `WRITE_DOCUMENTS=1 cargo nextest run reference` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pushmaild::config::Config;
use syn::{Attribute, Expr, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Type};

use super::links::slug;
use super::{complete, project_file};

const DOCUMENT: &str = "docs/configuration.md";
/// Where the tables are, each in a file of its own.
const TABLES: &str = "src/config";
/// What keys are made of that is defined elsewhere.
const DIALECTS: &str = "src/proto/push_notify.rs";
const ROOT: &str = "File";

const INTRODUCTION: &str = r#"# The configuration

<!-- Made from src/config/ by tests/it/documents/reference.rs; do not edit. WRITE_DOCUMENTS=1 cargo nextest run reference -->

`/etc/pushmaild/pushmaild.toml`, unless `-c FILE` names another. [`examples/everything.toml`](../examples/everything.toml) has all of it
in one file.

- The file is [TOML](https://toml.io). A table or key that pushmaild does not know is refused, with its line and a hint: no misspelt key
  is ever ignored.
- Durations are written in quotes: `"250ms"`, `"2s"`, `"1m"`, `"1h"`, `"180d"`.
- A relative path starts at the folder of the configuration file.
- After a change run `pushmaild check`, then `systemctl reload pushmaild`, which sends SIGHUP. A file that is wrong is reported, and the
  daemon goes on with what it had. A key takes effect at a reload unless it says that it needs a restart; then the log says so, too.
- At least one of `[push-notify]`, `[apns]` and `[exec]` is needed: a sink, for somebody to tell.
"#;

/// A table of the configuration.
struct Table {
    /// As TOML has it, `mailboxes.passwd` for one inside another.
    path: String,
    text: String,
    example: String,
    takes_effect: Option<String>,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    text: String,
    takes: String,
    /// The values that it can have, each with what it means; none if these are no few words.
    values: Vec<(String, String)>,
    default: String,
    takes_effect: Option<String>,
}

/// What the sources define.
#[derive(Default)]
struct Types {
    tables: BTreeMap<String, Vec<syn::Field>>,
    choices: BTreeMap<String, Vec<(String, String)>>,
    docs: BTreeMap<String, String>,
}

impl Types {
    fn read() -> Self {
        let mut types = Self::default();
        let tables = fs::read_dir(project_file(TABLES)).expect("the folder can be read");
        let tables = tables.map(|entry| entry.expect("the folder can be read").path());
        for source in tables.chain([project_file(DIALECTS)]) {
            let text = fs::read_to_string(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
            let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
            for item in file.items {
                types.add(item);
            }
        }
        types
    }

    fn add(&mut self, item: Item) {
        match item {
            Item::Struct(it) => {
                let name = it.ident.to_string();
                self.docs.insert(name.clone(), docs(&it.attrs));
                if let Fields::Named(fields) = it.fields {
                    self.tables.insert(name, fields.named.into_iter().collect());
                }
            }
            Item::Enum(it) => {
                let values = it.variants.iter().map(|variant| {
                    let name = renamed(&variant.attrs).unwrap_or_else(|| kebab(&variant.ident.to_string()));
                    (name, docs(&variant.attrs))
                });
                let values = values.collect();
                self.docs.insert(it.ident.to_string(), docs(&it.attrs));
                self.choices.insert(it.ident.to_string(), values);
            }
            _ => {}
        }
    }

    /// All tables, each before those inside it.
    fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        for field in &self.tables[ROOT] {
            self.table(&field_name(field), &inner(&field.ty), &mut tables);
        }
        tables
    }

    fn table(&self, path: &str, ty: &Type, tables: &mut Vec<Table>) {
        let name = type_name(ty);
        let fields = self.tables.get(&name).unwrap_or_else(|| panic!("[{path}] is no table in {TABLES}"));
        let Parts { text, default, takes_effect } = Parts::of(&self.docs[&name]);
        assert!(!text.is_empty(), "[{path}] has no comment above `struct {name}`");
        assert!(default.is_none(), "[{path}]: a default belongs to a key");
        let example = first_block(&text).unwrap_or_else(|| panic!("[{path}] has no example in a toml block"));
        let keys = fields.iter().map(|field| self.key(path, field)).collect();
        tables.push(Table { path: path.to_owned(), text, example, takes_effect, keys });
        for field in fields {
            let ty = inner(&field.ty);
            if self.tables.contains_key(&type_name(&ty)) {
                self.table(&format!("{path}.{}", field_name(field)), &ty, tables);
            }
        }
    }

    fn key(&self, table: &str, field: &syn::Field) -> Key {
        let name = field_name(field);
        let Parts { text, default, takes_effect } = Parts::of(&docs(&field.attrs));
        assert!(!text.is_empty(), "`[{table}] {name}` has no comment in {TABLES}");
        let default =
            default.unwrap_or_else(|| panic!("`[{table}] {name}` has no line `Default: …` in {TABLES}"));
        let ty = inner(&field.ty);
        let values = self.choices.get(&type_name(&ty)).cloned().unwrap_or_default();
        for (value, text) in &values {
            assert!(!text.is_empty(), "the value `{value}` of `[{table}] {name}` has no comment");
        }
        Key { takes: self.words(table, &name, &ty), name, text, values, default, takes_effect }
    }

    /// What a key takes, in words.
    fn words(&self, table: &str, key: &str, ty: &Type) -> String {
        let name = type_name(ty);
        match name.as_str() {
            "PathBuf" => "path".to_owned(),
            "String" => "text".to_owned(),
            "bool" => "`true` or `false`".to_owned(),
            "u8" | "u16" | "u32" | "u64" | "usize" | "NonZeroU32" | "NonZeroUsize" => {
                "whole number".to_owned()
            }
            "Span" => "duration".to_owned(),
            "Vec" => format!("list of {}", self.words(table, key, &arguments(ty)[0])),
            "BTreeMap" => {
                let [from, to] = [0, 1].map(|at| self.words(table, key, &inner(&arguments(ty)[at])));
                format!("table of {from} and {to}")
            }
            _ if self.tables.contains_key(&name) => {
                format!("table, see [below](#{})", slug(&format!("{table}.{key}")))
            }
            _ if self.choices.contains_key(&name) => {
                let values: Vec<_> =
                    self.choices[&name].iter().map(|(value, _)| format!("`\"{value}\"`")).collect();
                values.join(", ")
            }
            // A type of its own says itself what it takes.
            _ => match self.docs.get(&name).and_then(|docs| docs.lines().next()) {
                Some(line) => {
                    let line = line.trim_end_matches('.');
                    format!("{}{}", line[..1].to_lowercase(), &line[1..])
                }
                None => panic!("`[{table}] {key}`: words are missing for the type {name}"),
            },
        }
    }
}

/// A comment, taken apart.
struct Parts {
    text: String,
    default: Option<String>,
    takes_effect: Option<String>,
}

impl Parts {
    fn of(docs: &str) -> Self {
        let mut parts = Self { text: String::new(), default: None, takes_effect: None };
        for line in docs.lines() {
            if let Some(default) = line.strip_prefix("Default: ") {
                parts.default = Some(default.to_owned());
            } else if let Some(when) = line.strip_prefix("Takes effect: ") {
                parts.takes_effect = Some(when.to_owned());
            } else {
                parts.text.push_str(line);
                parts.text.push('\n');
            }
        }
        parts.text.truncate(parts.text.trim_end().len());
        parts
    }
}

fn docs(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(literal) = &meta.value
            && let Lit::Str(line) = &literal.lit
        {
            let line = line.value();
            text.push_str(line.strip_prefix(' ').unwrap_or(&line));
            text.push('\n');
        }
    }
    text.trim_end().to_owned()
}

/// `#[serde(rename = "…")]`.
fn renamed(attributes: &[Attribute]) -> Option<String> {
    let mut name = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        // Other words in it have other forms, and are no affair of ours.
        let _ = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                name = Some(meta.value()?.parse::<syn::LitStr>()?.value());
            } else if meta.input.peek(syn::Token![=]) {
                meta.value()?.parse::<Expr>()?;
            }
            Ok(())
        });
    }
    name
}

fn field_name(field: &syn::Field) -> String {
    let ident = field.ident.as_ref().expect("a named field");
    renamed(&field.attrs).unwrap_or_else(|| ident.to_string().replace('_', "-"))
}

fn kebab(variant: &str) -> String {
    let mut name = String::new();
    for (at, letter) in variant.char_indices() {
        if letter.is_uppercase() && at > 0 {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Without what only says that it may be missing, or where it stands.
fn inner(ty: &Type) -> Type {
    match type_name(ty).as_str() {
        "Option" | "Spanned" | "Box" => inner(&arguments(ty)[0]),
        _ => ty.clone(),
    }
}

fn type_name(ty: &Type) -> String {
    let Type::Path(path) = ty else { panic!("a type without a name") };
    path.path.segments.last().expect("a path has segments").ident.to_string()
}

fn arguments(ty: &Type) -> Vec<Type> {
    let Type::Path(path) = ty else { panic!("a type without a name") };
    let PathArguments::AngleBracketed(list) =
        &path.path.segments.last().expect("a path has segments").arguments
    else {
        panic!("{} has no arguments", type_name(ty))
    };
    let types = list.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(inner(ty)),
        _ => None,
    });
    types.collect()
}

/// The first block of TOML in a text.
fn first_block(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("```toml\n")?;
    rest.split_once("```").map(|(block, _)| block.to_owned())
}

fn write_document(tables: &[Table]) -> String {
    let mut out = INTRODUCTION.to_owned();
    for table in tables {
        let heading = format!("[{}]", table.path);
        write!(out, "\n## {heading}\n\n{}\n", table.text).expect("a String takes all text");
        let keys = table
            .keys
            .iter()
            .map(|key| format!("[`{}`](#{})", key.name, slug(&format!("{heading} {}", key.name))));
        // One a line: links have no end.
        write!(out, "\nKeys:\n{}\n", keys.collect::<Vec<_>>().join(",\n")).expect("a String takes all text");
        for key in &table.keys {
            write!(out, "\n### {heading} {}\n\n{}\n\n", key.name, key.text).expect("a String takes all text");
            for (value, text) in &key.values {
                writeln!(out, "- `\"{value}\"`: {}", text.replace('\n', " "))
                    .expect("a String takes all text");
            }
            if !key.values.is_empty() {
                out.push('\n');
            }
            let when = key.takes_effect.as_ref().or(table.takes_effect.as_ref());
            let when = when.map_or("at a reload", String::as_str);
            // Two blanks at the end of a line are a line break.
            writeln!(out, "Takes: {}  \nDefault: {}  \nTakes effect: {when}", key.takes, key.default)
                .expect("a String takes all text");
        }
    }
    out
}

#[test]
fn the_reference_is_what_the_comments_of_the_code_say() {
    let made = write_document(&Types::read().tables());
    let path = project_file(DOCUMENT);
    if std::env::var_os("WRITE_DOCUMENTS").is_some() {
        fs::write(&path, &made).expect("the document can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(found.lines()).position(|(made, found)| made != found);
    let line = differs.unwrap_or_else(|| made.lines().count().min(found.lines().count())) + 1;
    assert!(
        made == found,
        "{DOCUMENT} is not what {TABLES} says, from line {line} on\nhint: WRITE_DOCUMENTS=1 cargo nextest run reference"
    );
}

/// The configuration with a key that has its documented default, and without that key.
fn with_and_without(table: &Table, key: &Key, default: &str) -> [String; 2] {
    let line = format!("{} = {default}\n", key.name);
    // A table inside another one is a line there; so it gets lines of its own.
    let rest = if table.path.contains('.') {
        format!("[{}]\n", table.path)
    } else {
        let others = table.example.lines().filter(|line| !line.starts_with(&format!("{} = ", key.name)));
        others.fold(String::new(), |text, line| text + line + "\n")
    };
    [format!("{rest}{line}"), rest].map(|text| complete(&text))
}

#[track_caller]
fn parse(text: &str) -> Config {
    Config::parse(Path::new("/etc/pushmaild/pushmaild.toml"), text)
        .unwrap_or_else(|error| panic!("{error}\nhint: {}\n{text}", error.hint()))
}

/// A default in backticks is one of TOML.
fn as_toml(default: &str) -> Option<&str> {
    default.strip_prefix('`')?.strip_suffix('`').filter(|value| !value.contains('`'))
}

#[test]
fn the_reference_has_the_defaults_of_the_code() {
    let mut compared = 0;
    for table in &Types::read().tables() {
        parse(&complete(&table.example));
        for key in &table.keys {
            if let Some(default) = as_toml(&key.default) {
                let [with, without] = with_and_without(table, key, default).map(|text| parse(&text));
                assert!(with == without, "`{default}` is not the default of `[{}] {}`", table.path, key.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 15, "defaults are compared at all: {compared}");
}

#[test]
fn the_check_of_the_defaults_would_see_a_mistake() {
    for (path, name, wrong) in [
        ("watch", "sweep-interval", "\"11m\""),
        ("debounce", "catch-up-rate", "501"),
        ("mailboxes.passwd", "max-uid", "60000"),
        ("listen", "mode", "\"0666\""),
        ("registry", "expire", "\"30d\""),
    ] {
        let tables = Types::read().tables();
        let table = tables.iter().find(|table| table.path == path).expect("the table is there");
        let key = table.keys.iter().find(|key| key.name == name).expect("the key is there");
        let [with, without] = with_and_without(table, key, wrong).map(|text| parse(&text));
        assert!(with != without, "`[{path}] {name}` could as well be {wrong}");
    }
}
