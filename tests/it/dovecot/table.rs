//! Every [case](super::cases), each with a user of its own, all on one Dovecot and one daemon.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;

use super::Dovecot;
use super::cases::{CASES, Case, Outcome, Row, Step};
use super::imap::Imap;
use crate::support::{Fence, Maildir, Push, Site};

/// Which cases give new mail, which a change and which nothing, without a clock: where changes
/// wait for an hour, what is pushed before the fence is new mail, and what is pushed when the
/// daemon is asked to stop was a change.
#[test]
fn each_case_is_new_mail_or_a_change_or_nothing() {
    check(|| what_each_case_is_to(Backend::Inotify));
}

#[test]
fn each_case_is_the_same_to_the_portable_backend() {
    check(|| what_each_case_is_to(Backend::Notify));
}

#[test]
fn each_case_is_the_same_to_fanotify() {
    if !crate::support::fanotify_is_refused() {
        check(|| what_each_case_is_to(Backend::Fanotify));
    }
}

fn what_each_case_is_to(backend: Backend) -> Vec<Mistake> {
    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    let mut runs = Run::all(&site, &dovecot);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site
        .config()
        .set("watch.backend", backend.name())
        .set("debounce.change-quiet", "1h")
        .set("debounce.change-max-wait", "1h");
    let daemon = site.start(&config);

    let mut pushes = receiver.read_during(|| each(&mut runs, Run::act));
    pushes.extend(fence.after_new_mail(&receiver));
    let at_once = count(&pushes);
    let at_stop = count(&daemon.stop_and_read(&receiver));

    mistakes(&runs, |run| {
        let at_once = at_once.get(&run.user).copied().unwrap_or(0);
        let at_stop = at_stop.get(&run.user).copied().unwrap_or(0);
        let verdict = match (run.case.outcome, at_once, at_stop) {
            (Outcome::NewMail, 0, _) | (Outcome::Change, 0, 0) => Verdict::TooFew,
            (Outcome::NewMail, pushes, 0) if pushes <= run.case.messages() => Verdict::Right,
            // However many files changed.
            (Outcome::Change, 0, 1) | (Outcome::Nothing, 0, 0) => Verdict::Right,
            _ => Verdict::TooMuch,
        };
        (verdict, format!("{at_once} pushes for new mail and {at_stop} for changes"))
    })
}

/// The same with debounce times as they are used, only shorter.
#[test]
fn each_case_is_pushed_when_its_time_has_come() {
    check(|| what_is_pushed_by(Backend::Inotify));
}

#[test]
fn each_case_is_pushed_by_the_portable_backend() {
    check(|| what_is_pushed_by(Backend::Notify));
}

#[test]
fn each_case_is_pushed_by_the_polling_backend() {
    check(|| what_is_pushed_by(Backend::Poll));
}

#[test]
fn each_case_is_pushed_by_fanotify() {
    if !crate::support::fanotify_is_refused() {
        check(|| what_is_pushed_by(Backend::Fanotify));
    }
}

fn what_is_pushed_by(backend: Backend) -> Vec<Mistake> {
    let site = Site::new();
    let dovecot = Dovecot::start(&site);
    let mut runs = Run::all(&site, &dovecot);
    let fence = Fence::new(&site);
    let receiver = site.receiver();
    let config = site.config().set("watch.backend", backend.name()).set("watch.poll-interval", "100ms");
    let _daemon = site.start(&config);

    let mut pushes = receiver.read_during(|| each(&mut runs, Run::act));
    pushes.extend(fence.after_changes(&receiver));
    let pushes = count(&pushes);

    mistakes(&runs, |run| {
        let pushed = pushes.contains_key(&run.user);
        let verdict = match (run.case.outcome, pushed) {
            (Outcome::NewMail | Outcome::Change, false) => Verdict::TooFew,
            (Outcome::Nothing, true) if !backend.may_push_too_much() => Verdict::TooMuch,
            _ => Verdict::Right,
        };
        (verdict, if pushed { "a push" } else { "no push" }.to_owned())
    })
}

/// How the daemon watches, and what it can tell from what it sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    Inotify,
    Fanotify,
    /// The portable one; on Linux it sees what inotify sees.
    Notify,
    /// Sees which directory changed, and not what changed in it.
    Poll,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Inotify => "inotify",
            Self::Fanotify => "fanotify",
            Self::Notify => "notify",
            Self::Poll => "poll",
        }
    }

    /// Whether it cannot know that a case is nothing. Too few is never right. Even a case that changes no file may
    /// be pushed: what set it up came just before the first look, and may hide another change behind the same mtime.
    fn may_push_too_much(self) -> bool {
        self == Self::Poll
    }
}

#[test]
fn each_row_of_the_classifier_has_a_case() {
    for row in Row::ALL {
        let covered = CASES.iter().any(|case| case.rows.contains(&row));
        assert!(covered, "no case for {row:?}");
    }
}

/// One case under way.
struct Run<'a> {
    case: &'static Case,
    user: String,
    maildir: Maildir,
    dovecot: &'a Dovecot,
    client: Imap,
}

impl<'a> Run<'a> {
    /// All cases, up to where their actions begin.
    fn all(site: &Site, dovecot: &'a Dovecot) -> Vec<Self> {
        let run = |(number, case)| {
            let user = format!("case-{number}@table.test");
            Self {
                case,
                maildir: dovecot.create_maildir(site, &user),
                dovecot,
                client: dovecot.imap(&user),
                user,
            }
        };
        let mut runs: Vec<Self> = CASES.iter().enumerate().map(run).collect();
        each(&mut runs, Run::prepare);
        runs
    }

    fn prepare(&mut self) {
        self.case.before.iter().for_each(|step| self.step(step));
    }

    fn act(&mut self) {
        self.case.action.iter().for_each(|step| self.step(step));
    }

    fn step(&mut self, step: &Step) {
        let Self { user, maildir, dovecot, client, .. } = self;
        match *step {
            Step::Deliver => dovecot.deliver(user),
            Step::DeliverDuringIdle => client.idle_during(|| dovecot.deliver(user)),
            Step::DeliverTogether(messages) => {
                let mut session = dovecot.lmtp();
                (0..messages).for_each(|_| session.deliver(user));
            }
            Step::Imap(command) => {
                client.run(command);
            }
            Step::Append(mailbox, flags) => client.append(mailbox, flags),
            Step::LoginAgain => {
                client.run("LOGOUT");
                *client = dovecot.imap(user);
            }
            Step::Files(change) => change(maildir),
        }
    }
}

impl Case {
    /// How many messages the action brings, if it brings any.
    fn messages(&self) -> usize {
        let in_step = |step: &Step| match step {
            Step::DeliverTogether(messages) => *messages,
            _ => 1,
        };
        self.action.iter().map(in_step).max().unwrap_or(0)
    }
}

/// Does something to all runs, a few at a time.
fn each<'a>(runs: &mut [Run<'a>], what: fn(&mut Run<'a>)) {
    let share = runs.len().div_ceil(4);
    thread::scope(|scope| {
        for runs in runs.chunks_mut(share) {
            scope.spawn(move || runs.iter_mut().for_each(what));
        }
    });
}

fn count(pushes: &[Push]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for push in pushes {
        *counts.entry(push.user.clone()).or_default() += 1;
    }
    counts
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    TooMuch,
    TooFew,
}

/// A case that did not come out right.
struct Mistake {
    case: &'static Case,
    verdict: Verdict,
    seen: String,
}

impl fmt::Debug for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: not {:?}, but {}", self.case.name, self.case.outcome, self.seen)
    }
}

/// Judges all cases, each by what was seen of it, and keeps those that are not right.
fn mistakes(runs: &[Run<'_>], judge: impl Fn(&Run<'_>) -> (Verdict, String)) -> Vec<Mistake> {
    let judged = runs.iter().map(|run| {
        let (verdict, seen) = judge(run);
        Mistake { case: run.case, verdict, seen }
    });
    judged.filter(|mistake| mistake.verdict != Verdict::Right).collect()
}

/// Asserts that there are no mistakes. A push too many has to come twice to be one.
///
/// For a rename is two events, and the daemon does not wait long for the second. Nothing keeps a
/// busy system from pausing for longer between them, and then it looks as if one message went and
/// another came. That gives a push too many, but never one too few.
#[track_caller]
fn check(attempt: impl Fn() -> Vec<Mistake>) {
    let mut mistakes = attempt();
    let too_few = |mistakes: &[Mistake]| mistakes.iter().any(|m| m.verdict == Verdict::TooFew);
    if !mistakes.is_empty() && !too_few(&mistakes) {
        let again = attempt();
        let came_again = |m: &Mistake| again.iter().any(|a| a.case.name == m.case.name);
        mistakes.retain(came_again);
        assert!(!too_few(&again), "{again:#?}");
    }
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}
