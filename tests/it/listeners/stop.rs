//! The end: what is under way is answered, and nothing is left.

use std::{
    net::TcpStream,
    os::unix::net::{UnixDatagram, UnixStream},
    time::{Duration, Instant},
};

use pushmaild::{
    listener::counters::{Asked, Listener, Outcome},
    proto::push_notify::Dialect,
};

use super::{Setup, TOPIC, disk, http, ok, records, register_line};

#[test]
fn requests_under_way_are_answered_and_idle_clients_hold_up_nobody() {
    let (setup, disk) = disk::setup();
    let grace = Duration::from_secs(3600);
    let mut server = setup.limits(|it| it.grace = grace).start();
    let mut idle = (server.http(), server.line(), server.stream());
    let (mut line, mut client) = (server.line(), server.http());
    // Each has been served, so that the next request is not one that waits to be accepted.
    assert_eq!(line.send(register_line("before")).line(), ok());
    assert_eq!(http::answer(client.send(http::register("before"))).2, TOPIC);
    disk.hang(true);
    line.send(register_line("jo")).send(register_line("robin"));
    client.send(http::register("anna"));
    disk.is_waited_for();
    server.stop.cancel();
    assert_eq!((line.line(), line.line()), (ok(), ok()));
    assert!(line.rest().is_empty());
    server.stop();
    assert!(idle.0.rest().is_empty() && idle.1.rest().is_empty() && idle.2.rest().is_empty());

    for name in ["xaps", "stream"] {
        assert!(!server.path(name).exists());
        UnixStream::connect(server.path(name)).unwrap_err();
    }
    assert!(!server.path("datagram").exists());
    TcpStream::connect(server.http).unwrap_err();
    disk.hang(false);
    for user in ["before", "jo", "robin"] {
        server.registered(user);
    }
}

#[test]
fn what_is_slow_is_cut_off_after_the_grace_period() {
    let mut server = Setup::new().limits(|it| it.grace = Duration::from_millis(50)).start();
    let mut slow = (server.http(), server.stream());
    slow.0.send("POST /register HT");
    slow.1.send([2, 0, 0]);
    // What comes on another connection afterwards shows that they have been accepted.
    assert_eq!(http::answer(server.http().send(http::register("jo"))).0, 200);
    let begin = Instant::now();
    server.stop();
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(slow.0.rest().is_empty() && slow.1.rest().is_empty());
}

#[test]
fn datagrams_that_were_sent_before_the_stop_count() {
    let (setup, disk) = disk::setup();
    let mut server = setup.start();
    disk.hang(true);
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(server.path("datagram")).unwrap();
    for user in ["jo", "anna", "robin"] {
        sender.send(&records::register(user, Dialect::Osx107)).unwrap();
    }
    server.stop();
    assert_eq!(server.count(Listener::PushNotifyDatagram, Asked::Register, Outcome::Taken), 3);
    disk.hang(false);
    server.registered("robin");
}
