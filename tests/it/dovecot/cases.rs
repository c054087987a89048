//! The cases of the [table](super::table), as data: what a client or a server does to INBOX, and
//! whether the user gets a push for it.

use crate::support::Maildir;

/// The kinds of changes that the classifier knows, as the file system shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// Into `new/`, by rename or link.
    IntoNew,
    /// From `new/` to `cur/`, without flags.
    OpenedUnflagged,
    /// From `new/` to `cur/`, with flags.
    OpenedFlagged,
    /// Renamed within `cur/`.
    Reflagged,
    /// Into `cur/` from a directory that is not watched, without the flag S.
    IntoCurUnread,
    /// The same with the flag S.
    IntoCurRead,
    /// Deleted in `cur/` or `new/`.
    Deleted,
    /// Renamed to a directory that is not watched.
    MovedOut,
    /// `tmp/`, `dovecot*`, `maildirsize`, `*.lock`.
    Noise,
}

impl Row {
    pub(super) const ALL: [Self; 9] = [
        Self::IntoNew,
        Self::OpenedUnflagged,
        Self::OpenedFlagged,
        Self::Reflagged,
        Self::IntoCurUnread,
        Self::IntoCurRead,
        Self::Deleted,
        Self::MovedOut,
        Self::Noise,
    ];
}

/// What a case does, one step after the other, as one user with one IMAP connection.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// One message by LMTP.
    Deliver,
    /// One message by LMTP while the client waits in IDLE.
    DeliverDuringIdle,
    /// So many messages in one LMTP session.
    DeliverTogether(usize),
    /// A command of the IMAP client.
    Imap(&'static str),
    /// APPEND to a mailbox, with flags.
    Append(&'static str, &'static str),
    /// The client logs out, and a new one logs in.
    LoginAgain,
    /// Something that is not Dovecot changes the files.
    Files(fn(&Maildir)),
}

/// What a case's action gives: no push, or one for the reason named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Nothing,
    Change,
    NewMail,
}

pub(super) struct Case {
    pub(super) name: &'static str,
    /// The rows of the classifier's table that the action touches; none where no file changes.
    pub(super) rows: &'static [Row],
    /// Done before the daemon is started.
    pub(super) before: &'static [Step],
    pub(super) action: &'static [Step],
    pub(super) outcome: Outcome,
}

use Outcome::{Change, NewMail, Nothing};
use Step::{Append, Deliver, DeliverDuringIdle, DeliverTogether, Files, Imap, LoginAgain};

const fn case(
    name: &'static str,
    rows: &'static [Row],
    before: &'static [Step],
    action: &'static [Step],
    outcome: Outcome,
) -> Case {
    Case { name, rows, before, action, outcome }
}

const SELECT: Step = Imap("SELECT INBOX");

#[rustfmt::skip] // one case a line, or three: name and rows, steps before, action and outcome
pub(super) const CASES: &[Case] = &[
    // Delivery.
    case("LMTP", &[Row::IntoNew],
        &[],
        &[Deliver], NewMail),
    case("LMTP, three messages in one session", &[Row::IntoNew],
        &[],
        &[DeliverTogether(3)], NewMail),
    case("LMTP while a client idles", &[Row::IntoNew, Row::OpenedUnflagged],
        &[SELECT],
        &[DeliverDuringIdle], NewMail),
    case("delivery by link", &[Row::IntoNew],
        &[],
        &[Files(|m| { m.deliver_by_link(); })], NewMail),
    case("delivery into cur", &[Row::IntoCurUnread],
        &[],
        &[Files(|m| { m.deliver_into_cur(""); })], NewMail),
    case("delivery into cur, flagged", &[Row::IntoCurUnread],
        &[],
        &[Files(|m| { m.deliver_into_cur("F"); })], NewMail),
    case("delivery into cur, read", &[Row::IntoCurRead],
        &[],
        &[Files(|m| { m.deliver_into_cur("S"); })], Change),
    case("delivery into cur by link", &[Row::IntoCurUnread],
        &[],
        &[Files(|m| { m.deliver_into_cur_by_link(""); })], NewMail),
    case("delivery into cur by link, read", &[Row::IntoCurRead],
        &[],
        &[Files(|m| { m.deliver_into_cur_by_link("RS"); })], Change),

    // Opening the mailbox, and looking without reading.
    case("SELECT after delivery", &[Row::OpenedUnflagged],
        &[Deliver],
        &[SELECT], Nothing),
    case("NOOP after delivery", &[Row::OpenedUnflagged],
        &[SELECT, Deliver],
        &[Imap("NOOP")], Nothing),
    case("a mail reader opens the mailbox", &[Row::OpenedUnflagged],
        &[Deliver],
        &[Files(Maildir::open_mailbox)], Nothing),
    case("a mail reader opens and flags", &[Row::OpenedFlagged],
        &[Deliver],
        &[Files(|m| m.set_flags(&only(m), "S"))], Change),
    case("EXAMINE after delivery", &[],
        &[Deliver],
        &[Imap("EXAMINE INBOX"), Imap("FETCH 1 BODY[]")], Nothing),
    case("FETCH BODY.PEEK", &[],
        &[Deliver, SELECT],
        &[Imap("FETCH 1 (FLAGS BODY.PEEK[])")], Nothing),
    case("SEARCH", &[],
        &[Deliver, SELECT],
        &[Imap("SEARCH UNSEEN"), Imap("SEARCH TEXT hello")], Nothing),
    case("STATUS", &[],
        &[Deliver],
        &[Imap("STATUS INBOX (MESSAGES UNSEEN)")], Nothing),
    case("NOOP and CHECK", &[],
        &[Deliver, SELECT],
        &[Imap("NOOP"), Imap("CHECK"), Imap("NOOP")], Nothing),
    case("LOGOUT and LOGIN", &[],
        &[Deliver],
        &[LoginAgain, Imap("LIST \"\" *")], Nothing),

    // Reading and flagging.
    case("FETCH BODY[]", &[Row::Reflagged],
        &[Deliver, SELECT],
        &[Imap("FETCH 1 BODY[]")], Change),
    case("STORE +FLAGS \\Flagged", &[Row::Reflagged],
        &[Deliver, SELECT],
        &[Imap("STORE 1 +FLAGS (\\Flagged)")], Change),
    case("STORE -FLAGS \\Seen", &[Row::Reflagged],
        &[Append("INBOX", "\\Seen"), SELECT],
        &[Imap("STORE 1 -FLAGS (\\Seen)")], Change),
    case("STORE of a keyword", &[Row::Reflagged],
        &[Deliver, SELECT],
        &[Imap("STORE 1 +FLAGS ($Forwarded)")], Change),
    case("STORE on three messages", &[Row::Reflagged],
        &[DeliverTogether(3), SELECT],
        &[Imap("STORE 1:3 +FLAGS (\\Seen)")], Change),
    case("STORE of a flag that is set", &[],
        &[Append("INBOX", "\\Seen"), SELECT],
        &[Imap("STORE 1 +FLAGS (\\Seen)")], Nothing),

    // APPEND.
    case("APPEND", &[Row::IntoNew],
        &[],
        &[Append("INBOX", "")], NewMail),
    case("APPEND to the selected mailbox", &[Row::IntoNew, Row::OpenedUnflagged],
        &[SELECT],
        &[Append("INBOX", "")], NewMail),
    case("APPEND, flagged", &[Row::IntoCurUnread],
        &[],
        &[Append("INBOX", "\\Flagged")], NewMail),
    case("APPEND, read", &[Row::IntoCurRead],
        &[],
        &[Append("INBOX", "\\Seen")], Change),

    // COPY and MOVE into INBOX: Dovecot takes an unread message without flags through new/.
    case("COPY in", &[Row::IntoNew],
        &[Imap("CREATE Archive"), Append("Archive", ""), Imap("SELECT Archive")],
        &[Imap("COPY 1 INBOX")], NewMail),
    case("COPY in, flagged", &[Row::IntoCurUnread],
        &[Imap("CREATE Archive"), Append("Archive", "\\Flagged"), Imap("SELECT Archive")],
        &[Imap("COPY 1 INBOX")], NewMail),
    case("COPY in, read", &[Row::IntoCurRead],
        &[Imap("CREATE Archive"), Append("Archive", "\\Seen"), Imap("SELECT Archive")],
        &[Imap("COPY 1 INBOX")], Change),
    case("MOVE in", &[Row::IntoNew],
        &[Imap("CREATE Archive"), Append("Archive", ""), Imap("SELECT Archive")],
        &[Imap("MOVE 1 INBOX")], NewMail),
    case("MOVE in, read", &[Row::IntoCurRead],
        &[Imap("CREATE Archive"), Append("Archive", "\\Seen"), Imap("SELECT Archive")],
        &[Imap("MOVE 1 INBOX")], Change),

    // And out of it: Dovecot links and deletes, other programs rename.
    case("COPY out", &[],
        &[Imap("CREATE Archive"), Deliver, SELECT],
        &[Imap("COPY 1 Archive")], Nothing),
    case("MOVE out", &[Row::Deleted],
        &[Imap("CREATE Archive"), Deliver, SELECT],
        &[Imap("MOVE 1 Archive")], Change),
    case("a mail reader moves out of cur", &[Row::MovedOut],
        &[Imap("CREATE Archive"), Deliver, SELECT],
        &[Files(move_to_archive)], Change),
    case("a mail reader moves out of new", &[Row::MovedOut],
        &[Imap("CREATE Archive"), Deliver],
        &[Files(move_to_archive)], Change),

    // Removal.
    case("STORE \\Deleted and EXPUNGE", &[Row::Reflagged, Row::Deleted],
        &[Deliver, SELECT],
        &[Imap("STORE 1 +FLAGS (\\Deleted)"), Imap("EXPUNGE")], Change),
    case("EXPUNGE", &[Row::Deleted],
        &[Deliver, SELECT, Imap("STORE 1 +FLAGS (\\Deleted)")],
        &[Imap("EXPUNGE")], Change),
    case("CLOSE", &[Row::Deleted],
        &[Deliver, SELECT, Imap("STORE 1 +FLAGS (\\Deleted)")],
        &[Imap("CLOSE")], Change),
    case("EXPUNGE of nothing", &[],
        &[Deliver, SELECT],
        &[Imap("EXPUNGE")], Nothing),
    case("POP3 deletes in cur", &[Row::Deleted],
        &[Deliver, SELECT],
        &[Files(|m| m.expunge(&only(m)))], Change),
    case("POP3 deletes in new", &[Row::Deleted],
        &[Deliver],
        &[Files(|m| m.expunge(&only(m)))], Change),

    // Other folders, and files that are not messages.
    case("APPEND to another folder", &[],
        &[Imap("CREATE Archive")],
        &[Append("Archive", ""), Append("Archive", "\\Seen")], Nothing),
    case("changes in another folder", &[],
        &[Imap("CREATE Archive"), Append("Archive", ""), Imap("SELECT Archive")],
        &[Imap("STORE 1 +FLAGS (\\Seen \\Deleted)"), Imap("EXPUNGE")], Nothing),
    case("CREATE, RENAME, SUBSCRIBE, DELETE", &[],
        &[],
        &[Imap("CREATE a"), Imap("RENAME a b"), Imap("SUBSCRIBE b"), Imap("DELETE b")], Nothing),
    case("a delivery that was given up", &[Row::Noise],
        &[],
        &[Files(give_up_delivery)], Nothing),
    case("locks, indexes and quota files", &[Row::Noise],
        &[Deliver],
        &[Files(make_noise)], Nothing),
];

/// The only message of a Maildir.
#[track_caller]
fn only(maildir: &Maildir) -> String {
    let mut names = maildir.names("new");
    names.extend(maildir.names("cur"));
    let [name] = names.as_slice() else {
        panic!("not one message, but: {names:?}");
    };
    let unique = name.split(":2,").next();
    unique.expect("a split has a first part").to_owned()
}

fn move_to_archive(inbox: &Maildir) {
    inbox.move_to(&only(inbox), &Maildir::at(inbox.path(".Archive")));
}

fn give_up_delivery(inbox: &Maildir) {
    let path = inbox.path("tmp/1700000000.M1P1.test");
    std::fs::write(&path, "").expect("a file can be written");
    std::fs::remove_file(path).expect("a file can be removed");
}

fn make_noise(inbox: &Maildir) {
    for name in [
        "maildirsize",
        "dovecot-uidlist.lock",
        "cur/dovecot.index.tmp",
        "cur/1700000000.M1P1.lock",
        "new/dovecot-keywords",
        "new/maildirsize",
    ] {
        let path = inbox.path(name);
        std::fs::write(&path, "").expect("a file can be written");
        std::fs::remove_file(path).expect("a file can be removed");
    }
}
