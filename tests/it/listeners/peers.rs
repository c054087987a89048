//! Who may speak for whom. These need root, to become somebody else.

use std::{
    io::{IoSlice, Read},
    mem::MaybeUninit,
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    thread,
};

use pushmaild::{
    classifier::Kind,
    listener::counters::{Asked, Listener, Outcome},
    proto::push_notify::Dialect,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
#[cfg(target_os = "linux")]
use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::{Client, Server, Setup, notify_line, ok, records, register_line};

/// Does something as another user, on a thread that is this user's for the kernel. Nothing if we are not root.
#[cfg(target_os = "linux")]
pub(super) fn as_uid<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> Option<T> {
    if !geteuid().is_root() {
        return None;
    }
    Some(thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
            set_thread_groups(&[]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            work()
        });
        thread.join().unwrap()
    }))
}

/// Elsewhere threads have no users of their own.
#[cfg(not(target_os = "linux"))]
pub(super) fn as_uid<T: Send>(_: u32, _: impl FnOnce() -> T + Send) -> Option<T> {
    None
}

fn open_to_all() -> Setup {
    let mut setup = Setup::new();
    setup.listen.mode = 0o666;
    setup
}

fn line_of(server: &Server, uid: u32) -> Option<Client<UnixStream>> {
    let path = server.path("xaps");
    as_uid(uid, || super::connect(&path))
}

fn datagram_of(server: &Server, uid: u32, record: &[u8]) {
    as_uid(uid, || server.datagram(record));
}

#[test]
fn an_imap_process_speaks_for_its_own_user() {
    let server = open_to_all().start();
    server.maildir("jo", 3001);
    server.maildir("anna", 3002);
    let Some(mut jo) = line_of(&server, 3001) else { return };
    assert_eq!(jo.send(register_line("jo")).line(), ok());
    assert_eq!(jo.send(notify_line("jo")).line(), "OK \n");
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail));
    for user in ["anna", "nobody"] {
        for request in [register_line(user), notify_line(user)] {
            let answer = jo.send(request).line();
            let expected = format!("ERROR uid 3001 does not own the Maildir of {user}; ");
            assert!(answer.starts_with(&expected), "{answer}");
        }
    }
    assert!(server.registrations("anna").is_empty() && server.hints.is_empty());
    assert_eq!(server.count(Listener::XapsSocket, Asked::Register, Outcome::Refused), 2);
    // Pipelined, with refused ones in between.
    jo.send(register_line("jo") + &register_line("anna") + &notify_line("jo"));
    assert_eq!(jo.line(), ok());
    assert!(jo.line().starts_with("ERROR "));
    assert_eq!(jo.line(), "OK \n");
    // Root may, in one breath with them.
    assert_eq!(server.line().send(register_line("anna")).line(), ok());
}

#[test]
fn the_sender_of_a_record_is_known_too() {
    let server = open_to_all().start();
    server.maildir("jo", 3001);
    let (stream, datagram) = (Listener::PushNotifyStream, Listener::PushNotifyDatagram);
    let path = server.path("stream");
    let record = |user| records::register(user, Dialect::Argon);
    let Some(()) = as_uid(3001, || drop(super::connect(&path).send(record("anna")).rest())) else { return };
    server.counted(stream, Asked::Register, Outcome::Refused, 1);
    as_uid(3001, || super::connect(&path).send(record("jo")).rest());
    server.counted(stream, Asked::Register, Outcome::Taken, 1);
    server.registered("jo");

    datagram_of(&server, 3001, &records::notify("anna", Dialect::Osx108));
    server.counted(datagram, Asked::Notify, Outcome::Refused, 1);
    datagram_of(&server, 3001, &records::register("anna", Dialect::Osx108));
    server.counted(datagram, Asked::Register, Outcome::Refused, 1);
    assert!(server.hints.is_empty() && server.registrations("anna").is_empty());
    datagram_of(&server, 3001, &records::notify("jo", Dialect::Osx108));
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail));
    server.datagram(&records::notify("anna", Dialect::Osx108));
    assert_eq!(server.hint("anna").inbox, Some(Kind::NewMail), "root may");
}

#[test]
fn another_users_flood_of_datagrams_is_refused() {
    let server = open_to_all().start();
    server.maildir("jo", 3001);
    let on = Listener::PushNotifyDatagram;
    let record = records::notify("jo", Dialect::Osx108);
    let flood = || (0..500).for_each(|_| server.datagram(&record));
    let Some(()) = as_uid(3001, flood) else { return };
    crate::support::eventually("the end of it", || {
        let refused = server.count(on, Asked::Unknown, Outcome::Refused);
        let taken = server.count(on, Asked::Notify, Outcome::Taken);
        (refused + taken == 500 && refused > 300).then_some(())
    });
}

#[test]
fn those_of_peers_may_and_a_name_that_nobody_has_harms_nobody() {
    let mut setup = open_to_all();
    setup.listen.peers = vec!["no-such-user".to_owned(), "daemon".to_owned()];
    let server = setup.start();
    let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap().uid.as_raw();
    let Some(mut client) = line_of(&server, daemon) else { return };
    assert_eq!(client.send(register_line("jo")).line(), ok());
    datagram_of(&server, daemon, &records::notify("jo", Dialect::Osx108));
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail));
    let mut nobody = line_of(&server, 65534).unwrap();
    assert!(nobody.send(register_line("jo")).line().starts_with("ERROR uid 65534 "));
}

#[test]
fn the_mode_keeps_others_out() {
    let server = Setup::new().start();
    let kind = as_uid(3001, || {
        let sender = UnixDatagram::unbound().unwrap();
        let sent = sender.send_to(b"\0jo\0", server.path("datagram")).unwrap_err().kind();
        (sent, UnixStream::connect(server.path("xaps")).unwrap_err().kind())
    });
    let denied = std::io::ErrorKind::PermissionDenied;
    assert!(kind.is_none_or(|kinds| kinds == (denied, denied)));
}

#[test]
fn a_file_descriptor_that_comes_with_a_datagram_is_not_kept() {
    let server = Setup::new().start();
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(server.path("datagram")).unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut parts = SendAncillaryBuffer::new(&mut space);
    let descriptors = [theirs.as_fd()];
    assert!(parts.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&sender, &[IoSlice::new(b"\0jo\0")], &mut parts, SendFlags::empty()).unwrap();
    drop(theirs);
    server.counted(Listener::PushNotifyDatagram, Asked::Notify, Outcome::Refused, 1);
    ours.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap(), 0, "nobody has the other end any more");
    server.datagram(b"\0jo\0");
    assert_eq!(server.hint("jo").inbox, Some(Kind::NewMail), "and the next one is taken");
}
