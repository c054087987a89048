//! Each configuration that a document shows is one that the program takes.

use std::path::Path;

use pushmaild::config::Config;

use super::{complete, documents};

#[test]
fn the_program_takes_every_configuration() {
    let mut taken = 0;
    for document in documents() {
        for block in document.blocks.iter().filter(|block| block.language == "toml") {
            let parsed = Config::parse(Path::new("/etc/pushmaild/pushmaild.toml"), &complete(&block.text));
            if let Err(error) = parsed {
                panic!("{}: {error}\nhint: {}", block.place, error.hint());
            }
            taken += 1;
        }
    }
    assert!(taken > 10, "{taken} configurations were found");
}

/// What a reader copies from the README's first pages is TOML by its name, and not by chance a block that nobody reads.
#[test]
fn every_block_says_what_it_is() {
    const KINDS: [&str; 11] =
        ["sh", "console", "toml", "text", "ini", "dockerfile", "xml", "yaml", "mermaid", "json", "perl"];
    for document in documents() {
        for block in &document.blocks {
            assert!(
                KINDS.contains(&block.language.as_str()),
                "{}: no kind of block: {:?}",
                block.place,
                block.language
            );
        }
    }
}
