//! What holds for every backend: nothing is lost between a thread's arming and the day the watch has a name.

use std::{fs, future::poll_fn, path::Path, thread, time::Duration};

use super::{ArmError, ParentId, RawWatch, Target, WatchEvent, Watcher, open};
use crate::{classifier::Op, config::Backend, mailbox::MailboxId, maildir::Part};

const NEW: Target = Target::Part(MailboxId(1), Part::New);
const CUR: Target = Target::Part(MailboxId(1), Part::Cur);

/// Runs a test with each backend, and a directory `new`.
fn with_each(test: impl AsyncFn(&mut dyn Watcher, &Path, Backend)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for backend in [Backend::Inotify, Backend::Fanotify, Backend::Notify, Backend::Poll] {
        #[cfg(not(target_os = "linux"))]
        if matches!(backend, Backend::Inotify | Backend::Fanotify) {
            continue;
        }
        #[cfg(target_os = "linux")]
        if backend == Backend::Fanotify
            && let Err(refusal) = super::fanotify::probe([Path::new("/")])
        {
            assert!(refusal.is_general(), "{refusal}");
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("new")).expect("a folder");
        runtime.block_on(async {
            let mut watcher = open(backend, Duration::from_millis(20)).expect("a backend");
            test(&mut *watcher, &folder.path().join("new"), backend).await;
        });
    }
}

/// Arms as the daemon's threads do.
fn arm_on_a_thread(watcher: &dyn Watcher, target: Target, directory: &Path) -> Result<RawWatch, ArmError> {
    let armer = watcher.armer();
    thread::scope(|scope| scope.spawn(|| armer.arm(target.role(), directory)).join()).expect("no panic")
}

/// Reads until something is told, and returns all that came with it.
async fn told(watcher: &mut dyn Watcher) -> Vec<String> {
    let mut told = Vec::new();
    while told.is_empty() {
        poll_fn(|context| watcher.poll_ready(context)).await.expect("it works");
        watcher.read(&mut |event| told.push(brief(event))).expect("it works");
    }
    told
}

/// The event without what differs between backends.
fn brief(event: WatchEvent<'_>) -> String {
    match event {
        WatchEvent::Entry { target, op: Op::Created, name } => format!("{target:?} {}", name.escape_ascii()),
        WatchEvent::Touched { target, .. } => format!("{target:?} touched"),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_event_between_arming_and_adoption_is_told() {
    with_each(async |watcher, new, backend| {
        let raw = arm_on_a_thread(watcher, NEW, new).expect("it can be watched");
        fs::write(new.join("1.M1P1.host"), "").expect("a file");
        // Another watch, whose event comes after the first one's: when it is told, the other has been read.
        let cur = new.with_file_name("cur");
        fs::create_dir(&cur).expect("a folder");
        let other = watcher.arm(CUR, &cur).expect("it can be watched");
        fs::write(cur.join("2.M1P1.host"), "").expect("a file");
        let first = told(watcher).await;
        assert!(first.iter().all(|event| event.starts_with(&format!("{CUR:?}"))), "{backend:?}: {first:?}");

        watcher.disarm(other);
        watcher.adopt(NEW, raw).expect("it can be adopted");
        let second = told(watcher).await;
        assert_eq!(second, [format!("{NEW:?} touched")], "{backend:?}");
    });
}

#[test]
fn what_is_given_up_is_silent_and_harms_nobody() {
    with_each(async |watcher, new, backend| {
        if backend == Backend::Poll {
            return;
        }
        watcher.arm(NEW, new).expect("it can be watched");
        let again = arm_on_a_thread(watcher, CUR, new).expect("it can be watched");
        watcher.give_up(again);
        fs::write(new.join("1.M1P1.host"), "").expect("a file");
        assert_eq!(told(watcher).await[0], format!("{NEW:?} 1.M1P1.host"), "{backend:?}");

        let shared = arm_on_a_thread(watcher, CUR, new).expect("it can be watched");
        let refused = watcher.adopt(CUR, shared).expect_err("it is another's");
        assert!(matches!(refused, ArmError::Shared(NEW)), "{backend:?}: {refused:?}");
    });
}

#[test]
fn a_directory_that_goes_before_it_is_adopted_is_lost() {
    with_each(async |watcher, new, backend| {
        let parent = Target::Parent(ParentId(0));
        watcher.arm(parent, new.parent().expect("it has one")).expect("it can be watched");
        let raw = arm_on_a_thread(watcher, NEW, new).expect("it can be watched");
        fs::remove_dir(new).expect("it is empty");
        // The parent's event comes before or after the directory's own, and both come in the end.
        if backend != Backend::Poll {
            told(watcher).await;
        }
        watcher.adopt(NEW, raw).expect("nobody knows yet");
        let lost = format!("{:?}", WatchEvent::Lost(NEW));
        while !told(watcher).await.contains(&lost) {}
    });
}

/// A read that leaves room in the buffer needs no second one to show that there was nothing more.
#[test]
#[cfg(target_os = "linux")]
fn a_read_says_whether_it_got_everything() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watcher = open(Backend::Inotify, Duration::from_secs(1)).expect("a backend");
        watcher.arm(NEW, folder.path()).expect("it can be watched");
        let mut read = || {
            let mut count = 0;
            let read = watcher.read(&mut |_| count += 1).expect("it works");
            (count, read.any, read.all)
        };
        assert_eq!(read(), (0, false, true));
        fs::write(folder.path().join("0"), "").expect("a file");
        assert_eq!(read(), (1, true, true));
        assert_eq!(read(), (0, false, true));

        // 32 bytes each: more than fit.
        for number in 0..3000 {
            fs::write(folder.path().join(format!("n{number}")), "").expect("a file");
        }
        let (first, any, all) = read();
        assert!(any && !all && first < 3000, "{first}");
        assert_eq!(read(), (3000 - first, true, true));
        assert_eq!(read(), (0, false, true));
    });
}

/// Readiness that a complete read has cleared comes back with the next event.
#[test]
fn after_a_complete_read_the_next_event_wakes() {
    with_each(async |watcher, new, backend| {
        watcher.arm(NEW, new).expect("it can be watched");
        for number in 0..50 {
            fs::write(new.join(format!("{number}.M1P1.host")), "").expect("a file");
            let told = told(watcher).await;
            assert!(told[0].starts_with(&format!("{NEW:?}")), "{backend:?}: {told:?}");
        }
    });
}
