//! The documents: README.md and docs/. What they say to type is typed, and what they show is what comes.
//!
//! Above each fenced block of commands stands what becomes of it:
//!
//! - `<!-- run -->`: the block is run, with the program that was just built, on a machine of its own; see `running.rs`. All blocks of a
//!   document are run in their order, after `scenes/DOCUMENT.sh` if there is one.
//! - `<!-- run, exit 1 -->`: the same, and its last command ends with this status.
//! - `<!-- run, daemon -->`: the same, while a daemon runs with the configuration that is there by then.
//! - `<!-- not run: REASON -->`: it is not, and why.
//! - `<!-- prints -->` above a `text` block: its lines are among those that the block before has printed, in this order; `…` stands for anything.
//!
//! A block of TOML is a configuration, or a piece of one, that the program takes.

mod commands;
mod configurations;
mod links;
mod markdown;
mod reference;
#[cfg(target_os = "linux")]
mod running;

use std::fs;
use std::path::{Path, PathBuf};

use self::markdown::Document;

fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[track_caller]
fn project_text(path: &str) -> String {
    fs::read_to_string(project_file(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All documents that people read, by their paths in the project.
fn documents() -> Vec<Document> {
    let mut paths: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned).to_vec();
    for file in fs::read_dir(project_file("docs")).expect("there are documents").flatten() {
        let name = file.file_name().into_string().expect("names are text");
        if name.ends_with(".md") {
            paths.push(format!("docs/{name}"));
        }
    }
    paths.sort();
    paths.into_iter().map(|path| Document::read(&path, &project_text(&path))).collect()
}

/// A piece of a configuration, made one that is whole.
fn complete(text: &str) -> String {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    if table.contains_key("mailboxes") {
        text.to_owned()
    } else {
        format!("{text}\n[mailboxes]\nmap-file = 'users'\n")
    }
}

/// What CI runs is what people are told to run.
#[test]
fn the_readme_has_the_command_of_all_tests() {
    assert!(project_text(".ci/run").ends_with("\nexec tests/run.sh\n"));
    let readme = Document::read("README.md", &project_text("README.md"));
    assert!(readme.blocks.iter().any(|block| block.is_shell() && block.text == "tests/run.sh\n"));
}
