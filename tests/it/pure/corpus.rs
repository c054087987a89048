//! The fuzz targets over their kept corpus, without a fuzzer.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use pushmaild::fuzzing::TARGETS;

/// Entries of a folder below `fuzz/` that are not hidden.
fn entries(folder: &str) -> BTreeSet<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")))
        .collect()
}

fn stems(folder: &str) -> BTreeSet<String> {
    entries(folder)
        .iter()
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "shown only if a body panics: the seed that did it")]
fn every_target_takes_its_corpus() {
    for (target, body) in TARGETS {
        let seeds = entries(&format!("corpus/{target}"));
        assert!(seeds.len() >= 10, "{target} has a corpus of {} files", seeds.len());
        for seed in seeds {
            let data = fs::read(&seed).expect("a seed can be read");
            println!("{}", seed.display());
            body(&data);
        }
    }
}

#[test]
fn no_target_is_forgotten() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("corpus"), targets);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).expect("it is there").parse().expect("TOML");
    let names: BTreeSet<String> = manifest["bin"]
        .as_array()
        .expect("binaries")
        .iter()
        .map(|bin| bin["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(names, targets);
}

/// A capture that is added later is a seed, too.
#[test]
fn captures_are_in_the_corpus() {
    let transcripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    for (folder, target) in [
        ("import", "import_file"),
        ("push_notify", "push_notify_record"),
        ("xaps-http", "xaps_http_body"),
        ("xaps-socket", "xaps_line"),
    ] {
        let seeds: Vec<Vec<u8>> = entries(&format!("corpus/{target}"))
            .iter()
            .map(|path| fs::read(path).expect("a seed can be read"))
            .collect();
        for capture in fs::read_dir(transcripts.join(folder)).expect("the captures") {
            let path = capture.expect("it can be listed").path();
            let capture = fs::read(&path).expect("a capture can be read");
            assert!(seeds.iter().any(|seed| capture.ends_with(seed)), "{}", path.display());
        }
    }
}
