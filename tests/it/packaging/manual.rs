//! The manual pages and the shells' completions say what `--help` says, and their readers have nothing to complain of.

use std::collections::BTreeSet;

use tempfile::TempDir;

use super::*;

/// The generator that `cargo run --example manual` runs.
#[path = "../../../examples/manual/pages.rs"]
mod pages;

/// What the generator makes, and the page that is written by hand beside it.
pub(super) fn manual() -> TempDir {
    let folder = TempDir::new().expect("a temporary directory");
    write_manual(folder.path());
    folder
}

pub(super) fn write_manual(folder: &Path) {
    pages::write(folder).expect("pages and completions can be written");
    let page = "pushmaild.toml.5";
    fs::copy(project_file("packaging/man").join(page), folder.join("man").join(page))
        .expect("a page by hand");
}

/// The files of a folder, sorted.
#[track_caller]
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// The words that are options: `--config`, `-c`.
fn options(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with('-') && !word.trim_start_matches('-').is_empty())
        .collect()
}

/// What `--help` of a command says.
#[track_caller]
fn help(words: &[&str]) -> String {
    let output = Command::new(PUSHMAILD).args(words).arg("--help").output().expect("the program runs");
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    said(&output)
}

/// The commands below this one, as its `--help` lists them.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Compares the page of a command, and of all below it, with its `--help`. Counts them.
fn compare(folder: &Path, words: &[&str]) -> usize {
    let name = ["pushmaild"].iter().chain(words).copied().collect::<Vec<_>>().join("-");
    let page = folder.join("man").join(format!("{name}.1"));
    let page = run(Command::new("mandoc").args(["-T", "ascii"]).arg(page), "mandoc");
    assert!(page.status.success(), "{}", said(&page));
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    // Bold is printed as a letter, a backspace and the letter; without the first two it is plain.
    let mut plain = String::new();
    for c in page.chars() {
        match c {
            '\u{8}' => plain.truncate(plain.len() - 1),
            c => plain.push(c),
        }
    }

    let help = help(words);
    let (in_help, in_page) = (options(&help), options(&plain));
    let missing: Vec<_> = in_help.difference(&in_page).collect();
    assert!(in_help.contains("--help") && missing.is_empty(), "{name}(1) lacks {missing:?}: {plain}");

    let inner = commands(&help);
    for command in &inner {
        assert!(plain.contains(&format!("{name}-{command}(1)")), "{name}(1) lacks {command}: {plain}");
    }
    1 + inner.iter().map(|command| compare(folder, &[words, &[command.as_str()]].concat())).sum::<usize>()
}

#[test]
fn each_command_has_a_page_with_each_option_that_help_has() {
    let folder = manual();
    let compared = compare(folder.path(), &[]);
    // One page each, and pushmaild.toml(5).
    assert_eq!(compared + 1, files(&folder.path().join("man")).len());
    assert!(compared > 10, "the commands were found: {compared}");
}

#[test]
fn formatters_of_manual_pages_find_nothing_to_warn_of() {
    let folder = manual();
    for page in files(&folder.path().join("man")) {
        let lint = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page), "mandoc");
        assert_eq!(said(&lint), "", "mandoc");
        let groff = run(Command::new("groff").args(["-K", "utf8", "-man", "-ww", "-z"]).arg(&page), "groff");
        assert_eq!(said(&groff), "", "groff: {}", page.display());
    }
}

#[test]
fn the_check_of_the_pages_would_see_a_mistake() {
    let folder = manual();
    let page = folder.path().join("man/pushmaild-run.1");
    let text = fs::read_to_string(&page).expect("a page");
    fs::write(&page, text.replacen(".SH SYNOPSIS", ".SN SYNOPSIS", 1)).expect("a page can be written");
    let lint = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page), "mandoc");
    assert_ne!(said(&lint), "", "mandoc");
    let groff = run(Command::new("groff").args(["-K", "utf8", "-man", "-ww", "-z"]).arg(&page), "groff");
    assert_ne!(said(&groff), "", "groff");
}

#[test]
fn each_shell_can_read_its_completions_and_they_know_the_commands() {
    let folder = manual();
    let completions = folder.path().join("completions");
    for (name, shell) in [
        ("pushmaild.bash", ["bash", "-n"]),
        ("_pushmaild", ["zsh", "-n"]),
        ("pushmaild.fish", ["fish", "--no-execute"]),
    ] {
        let file = completions.join(name);
        let output = run(Command::new(shell[0]).arg(shell[1]).arg(&file), shell[0]);
        assert!(output.status.success(), "{name}: {}", said(&output));
        assert_eq!(said(&output), "", "{name}");
    }

    // And bash completes, as when somebody types `pushmaild de` and the tab key.
    let script = ". \"$1\"; COMP_WORDS=(pushmaild de); COMP_CWORD=1; _pushmaild pushmaild de pushmaild; echo \"${COMPREPLY[@]}\"";
    let output = run(
        Command::new("bash").args(["-c", script, "bash"]).arg(completions.join("pushmaild.bash")),
        "bash",
    );
    assert_eq!(said(&output).trim(), "devices", "`pushmaild de`, tab");
}
