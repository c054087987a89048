//! Each command line of pushmaild that a document shows is one that the program takes, also where it is not run.

use clap::{Parser as _, error::ErrorKind};
use pushmaild::cli::Cli;

use super::documents;

/// The command lines of pushmaild in a piece of shell, each from the program's name on.
fn command_lines(shell: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for line in shell.replace("\\\n", " ").lines() {
        let words = words(line);
        for command in words.split(|word| ["|", "||", "&", "&&", ";", "{", "}"].contains(&word.as_str())) {
            let program =
                (0..command.len()).find(|at| is_pushmaild(&command[*at]) && are_wrappers(&command[..*at]));
            if let Some(at) = program {
                let end = command.iter().position(|word| word.contains('>') || word.contains('<'));
                lines.push(command[at..end.unwrap_or(command.len()).max(at)].to_vec());
            }
        }
    }
    lines
}

fn is_pushmaild(word: &str) -> bool {
    word == "pushmaild" || word.ends_with("/pushmaild")
}

/// Do these words only say how the program that follows is run?
fn are_wrappers(words: &[String]) -> bool {
    const WRAPPERS: [&str; 8] = ["sudo", "systemd-run", "timeout", "exec", "if", "then", "do", "!"];
    const WITH_VALUE: [&str; 3] = ["-u", "-g", "-p"];
    let has_value = words.last().is_none_or(|word| !WITH_VALUE.contains(&word.as_str()));
    has_value
        && words.iter().enumerate().all(|(at, word)| {
            WRAPPERS.contains(&word.as_str())
                || word.starts_with('-')
                || word.contains('=')
                || word.parse::<u32>().is_ok()
                || at > 0 && WITH_VALUE.contains(&words[at - 1].as_str())
        })
}

/// The words of a line, as far as documents need the shell's grammar: quotes, comments, and signs that stand alone.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(end), _) if letter == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, ';' | '|' | '&') => {
                words.extend(word.take());
                let twice = letters.next_if_eq(&letter).is_some();
                words.push(letter.to_string().repeat(1 + usize::from(twice)));
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Says why the program does not take these words.
fn refusal(words: &[String]) -> Option<String> {
    let error = Cli::try_parse_from(words).err()?;
    let is_wrong = !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    is_wrong.then(|| error.to_string())
}

#[test]
fn the_program_takes_every_command_line_of_the_blocks() {
    let mut taken = 0;
    for document in documents() {
        for block in document.blocks.iter().filter(|block| block.is_shell()) {
            for words in command_lines(&block.commands()) {
                taken += 1;
                if let Some(refusal) = refusal(&words) {
                    panic!("{}: `{}`: {refusal}", block.place, words.join(" "));
                }
            }
        }
    }
    assert!(taken > 20, "{taken} command lines were found");
}

/// In the text there are also beginnings of command lines, and names in the place of what somebody would type.
#[test]
fn the_program_takes_every_command_line_of_the_text() {
    let mut taken = 0;
    for document in documents() {
        for (line, span) in document.code_spans() {
            if !span.starts_with("pushmaild ") {
                continue;
            }
            let mut words = words(&span);
            words.retain(|word| word != "…" && !word.starts_with('['));
            taken += 1;
            // clap reads all the words, and then it prints its help in the place of asking for more.
            words.push("--help".to_owned());
            if let Some(refusal) = refusal(&words) {
                panic!("{}:{line}: `{span}`: {refusal}", document.path);
            }
        }
    }
    assert!(taken > 10, "{taken} command lines were found");
}

#[test]
fn the_check_of_the_command_lines_would_see_a_mistake() {
    let found = |shell: &str| {
        let lines = command_lines(shell);
        lines.iter().map(|words| words.join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(
        found("sudo -u pushmaild pushmaild check --json > report   # why?"),
        ["pushmaild check --json"]
    );
    assert_eq!(found("sudo install -m 755 target/release/pushmaild /usr/bin/"), [""; 0]);
    assert_eq!(
        found("pushmaild users | grep jo && pushmaild \\\n  check -c 'a b'"),
        ["pushmaild users", "pushmaild check -c a b"]
    );
    assert!(refusal(&["pushmaild", "check", "--jason"].map(str::to_owned)).is_some());
    assert!(refusal(&["pushmaild", "check", "--jason", "--help"].map(str::to_owned)).is_some());
    assert!(refusal(&["pushmaild", "send", "--help"].map(str::to_owned)).is_none());
}
