//! Links between the documents, and to files of the project, lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::markdown::Document;
use super::{documents, project_file, project_text};

/// The name that GitHub gives a heading.
pub(super) fn slug(heading: &str) -> String {
    let mut slug = String::new();
    for letter in heading.trim().chars() {
        match letter {
            ' ' => slug.push('-'),
            '-' | '_' => slug.push(letter),
            _ if letter.is_alphanumeric() => slug.extend(letter.to_lowercase()),
            _ => {}
        }
    }
    slug
}

fn headings(document: &Document) -> Vec<String> {
    let lines = document.prose.iter().filter_map(|(_, line)| line.strip_prefix('#'));
    lines.map(|line| slug(line.trim_start_matches('#'))).collect()
}

/// A link: the line, its text, and where it leads.
fn links(document: &Document) -> Vec<(usize, String, String)> {
    let mut links = Vec::new();
    for (number, line) in &document.prose {
        let mut rest = line.as_str();
        while let Some((before, after)) = rest.split_once("](") {
            let text = before.rsplit('[').next().unwrap_or_default();
            let (target, more) = after.split_once(')').unwrap_or((after, ""));
            links.push((*number, text.to_owned(), target.to_owned()));
            rest = more;
        }
    }
    links
}

/// `docs/../tests/it` without the steps back.
fn straight(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(out.pop(), "{} leads out of the project", path.display()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    for document in &documents {
        let folder = Path::new(&document.path).parent().expect("a file is in a folder");
        for (line, text, target) in links(document) {
            let place = format!("{}:{line}: the link to `{target}`", document.path);
            if target.starts_with("https://") {
                continue;
            }
            assert!(!target.contains("://"), "{place} is not https");
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let path =
                if file.is_empty() { PathBuf::from(&document.path) } else { straight(&folder.join(file)) };
            let path = path.to_str().expect("names are text");
            assert!(project_file(path).exists(), "{place} leads nowhere");
            if !heading.is_empty() {
                let other = documents.iter().find(|document| document.path == path);
                let other = other.unwrap_or_else(|| panic!("{place}: {path} is no document"));
                assert!(headings(other).iter().any(|slug| slug == heading), "{place}: no such heading there");
            }
            // A test that a document names is there.
            if path.ends_with(".rs") && text.starts_with('`') {
                let name = text.trim_matches('`');
                assert!(project_text(path).contains(&format!("fn {name}(")), "{place} has no test {name}");
            }
        }
    }
}

#[test]
fn the_index_has_every_document() {
    let documents = documents();
    let index =
        documents.iter().find(|document| document.path == "docs/README.md").expect("there is an index");
    let listed: Vec<_> = links(index).into_iter().map(|(_, _, target)| target).collect();
    for document in &documents {
        if let Some(name) = document.path.strip_prefix("docs/") {
            assert!(
                name == "README.md" || listed.iter().any(|target| target == name),
                "{name} is not in docs/README.md"
            );
        }
    }
}

#[test]
fn headings_have_githubs_names() {
    assert_eq!(slug(" `[watch] sweep-interval`"), "watch-sweep-interval");
    assert_eq!(slug("What is pushed, and when"), "what-is-pushed-and-when");
}
