//! The backend on the file system that tests run on, where the process may mark it.

use std::{fs, future::poll_fn, path::Path};

use super::*;
use crate::{mailbox::MailboxId, maildir::Part};

const NEW: Target = Target::Part(MailboxId(3), Part::New);
const CUR: Target = Target::Part(MailboxId(3), Part::Cur);

/// Runs a test in a folder with `new` and `cur` in it, both armed. Where the privilege is missing the refusal is checked instead.
fn with_maildir(test: impl AsyncFnOnce(&mut Fanotify, &Path)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watcher = match (Fanotify::new(), probe([folder.path()])) {
            (Ok(watcher), Ok(None)) => watcher,
            // Not allowed here, which is all that can be tested.
            (Err(_), Err(refusal)) => return assert!(refusal.is_general(), "{refusal}"),
            (_, refused) => panic!("{refused:?}"),
        };
        for (target, name) in [(NEW, "new"), (CUR, "cur")] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
            watcher.arm(target, &folder.path().join(name)).expect("it can be watched");
        }
        test(&mut watcher, folder.path()).await;
    });
}

/// Reads until so many events are there.
async fn told(watcher: &mut Fanotify, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    let mut cookies = Vec::new();
    while told.len() < count {
        poll_fn(|context| watcher.poll_ready(context)).await.expect("it works");
        watcher.read(&mut |event| told.push(brief(event, &mut cookies))).expect("it works");
    }
    told
}

/// An event in words. Renames are numbered as they come: others rename on the file system, too, and use cookies up.
fn brief(event: WatchEvent<'_>, cookies: &mut Vec<u32>) -> String {
    let mut number = |cookie| match cookies.iter().position(|known| *known == cookie) {
        Some(known) => known + 1,
        None => {
            cookies.push(cookie);
            cookies.len()
        }
    };
    let part = |target| match target {
        NEW => "new",
        CUR => "cur",
        _ => "another",
    };
    match event {
        WatchEvent::Entry { target, op, name } => {
            let op = match op {
                Op::MovedFrom(cookie) => format!("MovedFrom({})", number(cookie)),
                Op::MovedTo(cookie) => format!("MovedTo({})", number(cookie)),
                other => format!("{other:?}"),
            };
            format!("{} {op} {}", part(target), name.escape_ascii())
        }
        WatchEvent::Lost(target) => format!("{} lost", part(target)),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_delivery_and_its_opening() {
    with_maildir(async |watcher, maildir| {
        fs::write(maildir.join("tmp"), "").expect("a file");
        fs::rename(maildir.join("tmp"), maildir.join("new/1")).expect("it can be renamed");
        fs::rename(maildir.join("new/1"), maildir.join("cur/1:2,S")).expect("it can be renamed");
        fs::remove_file(maildir.join("cur/1:2,S")).expect("it can be removed");
        fs::create_dir(maildir.join("new/folder")).expect("a folder");
        fs::write(maildir.join("new/2"), "").expect("a file");
        assert_eq!(
            told(watcher, 5).await,
            [
                "new MovedTo(1) 1",
                "new MovedFrom(2) 1",
                "cur MovedTo(2) 1:2,S",
                "cur Deleted 1:2,S",
                "new Created 2"
            ]
        );
    });
}

#[test]
fn a_directory_that_goes_is_lost() {
    with_maildir(async |watcher, maildir| {
        fs::remove_dir(maildir.join("new")).expect("it is empty");
        assert_eq!(told(watcher, 1).await[0], "new lost");
        fs::rename(maildir.join("cur"), maildir.join("old")).expect("it can be renamed");
        assert!(told(watcher, 1).await.contains(&"cur lost".to_owned()));
    });
}

/// No event but that of its end tells of a directory that another one took the place of.
#[test]
fn a_directory_that_is_replaced_is_lost() {
    with_maildir(async |watcher, maildir| {
        let other = maildir.join("other");
        fs::create_dir(&other).expect("a folder");
        fs::rename(&other, maildir.join("cur")).expect("it is empty, so it can be replaced");
        assert_eq!(told(watcher, 1).await[0], "cur lost");
    });
}

#[test]
fn what_is_disarmed_is_silent() {
    with_maildir(async |watcher, maildir| {
        let again = watcher.arm(NEW, &maildir.join("new")).expect("it is the same");
        watcher.disarm(again);
        fs::write(maildir.join("new/1"), "").expect("a file");
        fs::write(maildir.join("cur/2"), "").expect("a file");
        assert_eq!(told(watcher, 1).await, ["cur Created 2"]);
    });
}

/// The kernel gives the number of a mount that is gone to another one.
#[test]
fn a_mount_that_has_the_number_of_another_one_is_met_anew() {
    with_maildir(async |watcher, maildir| {
        let mount = sys::handle_at(maildir).expect("it has one").mount;
        let known = watcher.file_systems.at(mount).expect("it was met");
        let before = watcher.arm(NEW, &maildir.join("new")).expect("it is watched");
        watcher.file_systems.is_at(mount, known.device + 1, known.file_system);
        assert_eq!(watcher.arm(NEW, &maildir.join("new")).expect("it is watched"), before);
        assert_eq!(watcher.file_systems.at(mount), Some(known));

        watcher.file_systems.unmounted(known.file_system);
        assert_eq!(watcher.file_systems.at(mount), None);
        watcher.file_systems.is_at(mount, known.device, known.file_system);
        assert_eq!(watcher.file_systems.at(mount), None, "it is gone");
        let after = watcher.arm(NEW, &maildir.join("new")).expect("it is watched");
        assert_ne!(after, before, "it is another file system");
        assert_ne!(watcher.file_systems.at(mount).expect("it was met").file_system, known.file_system);
    });
}

#[test]
fn links_and_files_are_refused_when_the_file_system_is_known() {
    with_maildir(async |watcher, maildir| {
        std::os::unix::fs::symlink(maildir.join("new"), maildir.join("link")).expect("a link");
        fs::write(maildir.join("file"), "").expect("a file");
        let mut refused = |name: &str| watcher.arm(NEW, &maildir.join(name)).expect_err("no directory");
        assert!(matches!(refused("link"), ArmError::Link));
        assert!(matches!(refused("file"), ArmError::Missing));
        assert!(matches!(refused("none"), ArmError::Missing));
        assert!(matches!(refused("file/new"), ArmError::Missing));
        assert!(!watcher.unknown.armings.any());
    });
}
