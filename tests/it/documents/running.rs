//! The blocks that are run.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;

use super::markdown::{Block, Document};
use super::{documents, project_file};

/// What becomes of a block of commands.
enum Marker {
    Run { daemon: bool, exit: i32 },
    NotRun,
}

fn marker(block: &Block) -> Marker {
    let words = block.marker.as_deref().unwrap_or_else(|| {
        panic!("{}: no `<!-- run -->` or `<!-- not run: REASON -->` above the block", block.place)
    });
    if let Some(reason) = words.strip_prefix("not run:") {
        assert!(reason.trim().len() > 5, "{}: no reason why it is not run", block.place);
        return Marker::NotRun;
    }
    let mut parts = words.split(',').map(str::trim);
    assert_eq!(parts.next(), Some("run"), "{}: what is `{words}`?", block.place);
    let (mut daemon, mut exit) = (false, 0);
    for part in parts {
        match (part, part.strip_prefix("exit ")) {
            ("daemon", _) => daemon = true,
            (_, Some(status)) => exit = status.parse().expect("an exit status is a number"),
            _ => panic!("{}: what is `{part}`?", block.place),
        }
    }
    Marker::Run { daemon, exit }
}

/// Runs the blocks of a document on a machine of their own. Each that was run comes with what it printed.
fn run(document: &Document) -> Vec<(&Block, String)> {
    let folder = TempDir::new().expect("a temporary directory");
    let file = |number: usize, what: &str| folder.path().join(format!("{number}.{what}"));
    let mut blocks = Vec::new();
    for block in document.blocks.iter().filter(|block| block.is_shell()) {
        if let Marker::Run { daemon, exit } = marker(block) {
            let number = blocks.len() + 1;
            fs::write(file(number, "sh"), block.commands()).expect("a file can be written");
            fs::write(file(number, "expected"), exit.to_string()).expect("a file can be written");
            if daemon {
                fs::write(file(number, "daemon"), "").expect("a file can be written");
            }
            blocks.push((block, exit));
        }
    }
    if blocks.is_empty() {
        return Vec::new();
    }
    let said = on_a_machine(&document.path, folder.path());
    let outputs = (1..).zip(blocks).map(|(number, (block, exit))| {
        let output = fs::read(file(number, "out")).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        let status = fs::read_to_string(file(number, "status")).unwrap_or_default();
        let log = fs::read_to_string(folder.path().join("daemon.log")).unwrap_or_default();
        assert!(
            status.trim() == exit.to_string(),
            "{}: exit status {status:?} and not {exit}\n{output}{said}\n---- log of the daemon ----\n{log}",
            block.place
        );
        (block, output)
    });
    outputs.collect()
}

/// Makes the machine, and lets it run what is in `folder`. What it says itself is why there is none.
fn on_a_machine(document: &str, folder: &Path) -> String {
    let mut words = vec!["timeout", "--kill-after=5", "120"];
    words.extend([
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
        "--net",
        "sh",
    ]);
    if !geteuid().is_root() {
        words.splice(0..0, ["sudo", "--non-interactive"]);
    }
    let name = Path::new(document).file_stem().and_then(|name| name.to_str()).expect("names are text");
    let scene = format!("tests/it/documents/scenes/{name}.sh");
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(project_file("tests/it/documents/machine.sh"));
    command.arg(folder).arg(env!("CARGO_BIN_EXE_pushmaild"));
    if project_file(&scene).exists() {
        command.arg(scene);
    }
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("timeout and unshare are there: coreutils, util-linux");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Do the lines of `shown` stand in `printed`, in this order? If not, the first that does not.
fn missing_line<'a>(shown: &'a str, printed: &str) -> Option<&'a str> {
    let mut lines = printed.lines();
    shown.lines().find(|shown| !shown.trim().is_empty() && !lines.any(|line| fits(shown.trim(), line.trim())))
}

/// `…` stands for anything, and blanks for any number of them.
fn fits(shown: &str, line: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, line) = (squeeze(shown), squeeze(line));
    let pieces: Vec<_> = shown.split('…').map(str::trim).collect();
    let [first, between @ .., last] = pieces.as_slice() else { return shown == line };
    let rest = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    rest.is_some_and(|mut rest| {
        between.iter().all(|piece| rest.split_once(piece).map(|(_, after)| rest = after).is_some())
    })
}

#[test]
fn what_the_documents_say_to_type_works() {
    let documents = documents();
    for document in &documents {
        for block in document.blocks.iter().filter(|block| block.is_shell()) {
            marker(block);
        }
    }
    let failed: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = documents.iter().map(|document| scope.spawn(|| check(document))).collect();
        runs.into_iter().filter_map(|run| run.join().err()).collect()
    });
    assert!(failed.is_empty(), "{} documents say what does not work, see above", failed.len());
}

fn check(document: &Document) {
    let outputs = run(document);
    for (at, block) in
        document.blocks.iter().enumerate().filter(|(_, block)| block.marker.as_deref() == Some("prints"))
    {
        let before = document.blocks[..at].last().unwrap_or_else(|| panic!("{}: prints what?", block.place));
        let output = outputs.iter().find(|(run, _)| run.place == before.place);
        let (_, printed) = output.unwrap_or_else(|| panic!("{}: the block before is not run", block.place));
        if let Some(line) = missing_line(&block.text, printed) {
            panic!("{}: not printed: {line}\nprinted was:\n{printed}", block.place);
        }
    }
}

#[test]
fn lines_that_are_shown_are_compared_with_those_printed() {
    assert_eq!(missing_line("users  …\nok", "users   3 of them\nmore\nok\n"), None);
    assert_eq!(missing_line("ok\nusers", "users\nok\n"), Some("users"), "their order counts");
    assert!(fits("push for … in … ms", "push for jesse in 3 ms"));
    assert!(fits("sent …", "sent 3"));
    assert!(!fits("sent", "sent 3"));
    assert!(!fits("a … b", "a then c"));
}

/// A document of the test's own, with one block.
fn block(commands: &str) -> Document {
    Document::read("none.md", &format!("<!-- run -->\n```sh\n{commands}\n```\n"))
}

#[test]
fn a_command_that_fails_is_seen() {
    assert_eq!(run(&block("echo one\ntrue")).pop().map(|(_, output)| output), Some("one\n".to_owned()));
    let failed = std::panic::catch_unwind(|| drop(run(&block("false\ntrue"))));
    assert!(failed.is_err());
}

/// The folders of this machine, its network and its processes are no affair of a document.
#[test]
fn what_a_document_does_stays_on_its_machine() {
    let file = "pushmaild-document";
    let folders = ["/etc", "/usr/bin", "/var/lib", "/run", "/tmp", "/root/source"];
    let touch = folders.map(|folder| format!("touch {folder}/{file}")).join("\n");
    run(&block(&format!(
        "{touch}\nip -brief link | grep -v '^lo ' && exit 1\ntest \"$(ls -d /proc/[0-9]* | wc -l)\" -lt 20"
    )));
    for folder in folders {
        assert!(!Path::new(folder).join(file).exists(), "{folder} was written to");
    }
    assert!(!project_file(file).exists(), "the project was written to");
}
