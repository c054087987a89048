//! What was answered is on disk: after kill -9 in the midst of it, and, for what a kill cannot show, by the order of system calls.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pushmaild::registry::sqlite::SqliteStore;
use rustix::process::Signal;

use super::{Client, TOPIC, all, config};
use crate::support::{Site, eventually, patiently};

const REGISTRATIONS: usize = 10_000;

/// Registers all these users, some of them at a time, and counts the answers. Returns those that were answered before the daemon went.
fn register_all(site: &Site, names: &[String], answered: &AtomicUsize) -> usize {
    const AT_ONCE: usize = 32;
    let mut client = Client::connect(site);
    let mut count = 0;
    for (number, name) in names.iter().enumerate() {
        if client.send(name).is_err() {
            break;
        }
        if number >= AT_ONCE {
            if client.answered().is_err() {
                return count;
            }
            count += 1;
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    // Answers that were sent before the end can still be read.
    while count < names.len() && client.answered().is_ok() {
        count += 1;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    count
}

fn kill_after(answers: usize) {
    const CLIENTS: usize = 8;
    let site = Site::new();
    let database = site.path("registry.db");
    let config = config(&site, &database);
    fs::create_dir(site.path("run")).expect("a folder can be made");
    let launch = || site.launch(&config).env("RUNTIME_DIRECTORY", site.path("run"));
    let daemon = launch().env("PUSHMAILD_LOG", "pushmaild=warn").start();

    let of_client = |client: usize| -> Vec<String> {
        (0..REGISTRATIONS / CLIENTS).map(|number| format!("user{client}x{number}@example.org")).collect()
    };
    let answered = AtomicUsize::new(0);
    let counts: Vec<usize> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (site, answered) = (&site, &answered);
                let names = of_client(client);
                scope.spawn(move || register_all(site, &names, answered))
            })
            .collect();
        patiently(|| (answered.load(Ordering::Relaxed) >= answers).then_some(()));
        daemon.signal(Signal::KILL);
        clients.into_iter().map(|client| client.join().expect("no panic")).collect()
    });
    drop(daemon);
    let acknowledged: BTreeSet<String> = counts
        .iter()
        .enumerate()
        .flat_map(|(client, count)| of_client(client).into_iter().take(*count))
        .collect();
    assert!(acknowledged.len() >= answers, "{} of {answers}", acknowledged.len());
    assert!(acknowledged.len() < REGISTRATIONS, "it was killed in the midst of them");

    // A disk that was too busy has left some in the spill file. The next process puts them where they belong.
    let spill = site.path("run/registry.db.spill");
    if spill.exists() {
        let daemon = launch().start();
        eventually("what waited is written", || (!spill.exists()).then_some(()));
        daemon.stop();
    }
    let found = all(&mut SqliteStore::open(&database).expect("the database is good"));
    for it in &found {
        assert_eq!(it.topic.as_ref().map(|topic| topic.as_str()), Some(TOPIC));
        assert_eq!((it.mailboxes.len(), it.key.account.as_str()), (1, "E8CD34AC"));
    }
    let found: BTreeSet<String> = found.into_iter().map(|it| it.key.user.to_string()).collect();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "{} of {} were answered and are lost: {lost:?}", lost.len(), acknowledged.len());
}

#[test]
fn a_kill_in_the_midst_of_10000_registrations_loses_none_that_was_answered() {
    // Where, is another one each day; and said, so that it can be the same one again.
    let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2 {
        let answers = random.usize(1..REGISTRATIONS * 8 / 10);
        let killed = std::panic::catch_unwind(|| kill_after(answers));
        assert!(killed.is_ok(), "killed after {answers} answers, with KILL_SEED={seed}");
    }
}

/// A line of strace -f: the thread, and what it says of the system call.
fn split(line: &str) -> Option<(&str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (_time, call) = rest.trim_start().split_once(' ')?;
    Some((thread, call.trim_start()))
}

#[test]
fn each_answer_comes_after_the_disk_has_the_registration() {
    const MANY: usize = 25;
    let site = Site::new();
    let database = site.path("registry.db");
    let config = config(&site, &database);
    let trace = site.path("trace");
    let trace_name = trace.to_str().expect("the path is text");
    let calls = "trace=read,recvfrom,recvmsg,fdatasync,fsync,pwrite64,write,sendto,sendmsg,writev";
    // -D: the daemon stays the child that the test started. -y: with the name of each file.
    let strace =
        ["strace", "-D", "-f", "-ttt", "-y", "-s", "400", "-e", calls, "-e", "signal=none", "-o", trace_name];
    let daemon = site.launch(&config).wrapped_in(strace).start();
    let pid = daemon.pid();
    let mut client = Client::connect(&site);
    for number in 0..MANY {
        client.register(&format!("user{number}"));
    }
    drop(client);
    let log = daemon.stop();
    let end = format!("{pid} ");
    let trace = eventually("the trace of the end", || {
        let trace = fs::read_to_string(&trace).ok()?;
        trace
            .lines()
            .any(|line| line.starts_with(&end) && line.contains("+++ exited with 0 +++"))
            .then_some(trace)
    });

    // A thread's call that began and has not ended.
    let mut begun = std::collections::HashMap::new();
    let wal = format!("{}-wal>", fs::canonicalize(site.dir()).expect("there").join("registry.db").display());
    let (mut request, mut is_written, mut is_synced) = (None, false, false);
    let (mut answers, mut waited) = (0, 0);
    for line in trace.lines() {
        let Some((thread, call)) = split(line) else { continue };
        // A line for the beginning and one for the end, if another thread did something meanwhile.
        let (call, has_begun, has_ended) = if let Some(begin) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, begin);
            (begin.to_owned(), true, false)
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            (format!("{}{end}", begun.remove(thread).unwrap_or_default()), false, true)
        } else {
            (call.to_owned(), true, true)
        };
        let name = call.split('(').next().unwrap_or_default();
        match name {
            "read" | "recvfrom" | "recvmsg" if has_ended && call.contains("REGISTER aps-account-id") => {
                let user =
                    call.split("dovecot-username=\\\"").nth(1).and_then(|rest| rest.split('\\').next());
                request = Some(user.expect("the whole line is in the trace").to_owned());
                (is_written, is_synced) = (false, false);
            }
            "pwrite64" if has_begun && call.contains(&wal) => is_written = request.is_some(),
            "fdatasync" | "fsync" if has_ended && call.contains(&wal) => {
                assert!(call.trim_end().ends_with("= 0"), "{line}");
                is_synced = is_written;
            }
            "write" | "sendto" | "sendmsg" | "writev"
                if has_begun && call.contains(&format!("\"OK {TOPIC}")) =>
            {
                let user = request.take().expect("a request before the answer");
                // The one exception is told: the disk took too long.
                if log.contains(&format!("a registration of {user} waits for the disk")) {
                    waited += 1;
                } else {
                    assert!(is_synced, "{user} was answered before the disk had it: {line}\n{trace}");
                }
                answers += 1;
            }
            _ => {}
        }
    }
    assert_eq!(answers, MANY, "{trace}");
    assert!(waited < MANY / 2, "{waited} did not wait for the disk, which shows nothing");
    assert_eq!(all(&mut SqliteStore::open(&database).expect("good")).len(), MANY);
}
