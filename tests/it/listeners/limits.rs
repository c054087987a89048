//! Clients that are silent, slow, many or fast, and the others beside them.

use std::time::{Duration, Instant};

use pushmaild::listener::counters::{Asked, Listener, Outcome};

use super::{Client, Setup, TOPIC, http, notify_line, ok, peers::as_uid, register_line};
use crate::support::eventually;

const FOREVER: Duration = Duration::from_secs(3600);

#[test]
fn silent_clients_make_room_when_places_run_out() {
    let server = Setup::new()
        .limits(|it| {
            (it.connections, it.tcp) = (8, 6);
            it.idle_when_full = Duration::from_millis(50);
        })
        .start();
    // More than there are places, of all kinds, and one that was served and keeps its connection.
    let mut kept = server.http();
    assert_eq!(http::answer(kept.send(http::register("jo"))).2, TOPIC);
    let silent: Vec<_> = (0..20).map(|_| (server.http(), server.line(), server.stream())).collect();
    assert_eq!(server.line().send(register_line("jo")).line(), ok());
    assert_eq!(http::answer(server.http().send(http::register("jo"))).2, TOPIC);
    drop(silent);
}

#[test]
fn clients_that_are_at_work_keep_their_places_and_the_next_one_waits_for_one() {
    let server = Setup::new()
        .limits(|it| {
            it.connections = 4;
            (it.receive, it.idle_when_full) = (Duration::from_millis(300), Duration::from_millis(20));
        })
        .start();
    // Three listeners keep a place each for who comes next; half a request is no idleness.
    let mut slow: Vec<_> = (0..4).map(|_| server.line()).collect();
    for client in &mut slow {
        client.send("NOTIFY dov");
    }
    let mut next = server.line();
    assert_eq!(next.send(notify_line("jo")).line(), "OK \n", "when they have had their time");
    for client in &mut slow {
        assert!(client.rest().is_empty(), "ended");
    }
    assert_eq!(server.counters.ended(Listener::XapsSocket), 4);
}

#[test]
fn a_byte_now_and_then_is_too_slow() {
    let server = Setup::new().limits(|it| it.receive = Duration::from_millis(200)).start();
    let begin = Instant::now();
    let mut clients = (server.http(), server.line(), server.stream());
    let ended = || {
        [Listener::XapsHttp, Listener::XapsSocket, Listener::PushNotifyStream]
            .map(|on| server.counters.ended(on))
    };
    eventually("the end of all three", || {
        use std::io::Write;
        let _ = clients.0.stream.write(b"P");
        let _ = clients.1.stream.write(b"N");
        let _ = clients.2.stream.write(&[0]);
        (ended() == [1, 1, 1]).then_some(())
    });
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_head_that_comes_and_a_body_that_does_not() {
    let server = Setup::new().limits(|it| it.receive = Duration::from_millis(100)).start();
    let mut client = server.http();
    let request = http::register("jo");
    let body = request.find('{').unwrap();
    assert_eq!(http::answer(client.send(&request)).0, 200);
    assert!(client.send(&request[..body + 9]).rest().is_empty());
    assert_eq!(server.counters.ended(Listener::XapsHttp), 1);
}

#[test]
fn a_client_that_does_not_read_is_ended() {
    let server = Setup::new()
        .limits(|it| {
            it.answer = Duration::from_millis(200);
            (it.receive, it.idle) = (FOREVER, FOREVER);
        })
        .start();
    let mut client = server.line();
    let requests = "x\n".repeat(1000);
    // Until the answers fill all buffers, and so the requests do, too.
    while std::io::Write::write_all(&mut client.stream, requests.as_bytes()).is_ok() {}
    assert_eq!(server.counters.ended(Listener::XapsSocket), 1);
    assert_eq!(server.line().send(register_line("jo")).line(), ok());
}

#[test]
fn an_idle_connection_ends_some_time() {
    let server = Setup::new().limits(|it| it.idle = Duration::from_millis(100)).start();
    let mut clients = (server.http(), server.line(), server.stream());
    assert_eq!(http::answer(clients.0.send(http::register("jo"))).0, 200);
    assert!(clients.0.rest().is_empty() && clients.1.rest().is_empty() && clients.2.rest().is_empty());
}

#[test]
fn another_user_has_his_share_of_places_and_no_more() {
    let mut setup = Setup::new().limits(|it| {
        (it.connections, it.others, it.other) = (10, 3, 2);
        (it.idle_when_full, it.idle, it.receive) = (FOREVER, FOREVER, FOREVER);
    });
    setup.listen.mode = 0o666;
    let server = setup.start();
    let path = server.path("xaps");
    let connect = |uid, count: usize| {
        as_uid(uid, || (0..count).map(|_| super::connect(&path)).collect::<Vec<Client<_>>>())
    };
    let Some(mut first) = connect(3001, 5) else { return };
    for client in &mut first[2..] {
        assert!(client.rest().is_empty(), "the third is turned away");
    }
    let mut second = connect(3002, 2).unwrap();
    assert!(second[1].rest().is_empty(), "all others together have three");
    assert_eq!(server.count(Listener::XapsSocket, Asked::Unknown, Outcome::Refused), 4);
    assert_eq!(server.line().send(register_line("jo")).line(), ok());
    assert_eq!(http::answer(server.http().send(http::register("jo"))).2, TOPIC);
    // A place that is given back can be had again.
    drop(second);
    drop(first);
    let mut again = eventually("a place", || {
        let mut client = connect(3001, 1).unwrap().pop().unwrap();
        server.maildir("jo", 3001);
        let _ = std::io::Write::write_all(&mut client.stream, notify_line("jo").as_bytes());
        client.more().then_some(client)
    });
    assert_eq!(again.line(), "OK \n");
}

#[test]
fn another_user_is_slowed_down_and_nobody_else() {
    let mut setup = Setup::new().limits(|it| it.other_rate = 10);
    setup.listen.mode = 0o666;
    let server = setup.start();
    server.maildir("jo", 3001);
    let path = server.path("xaps");
    let Some(mut fast) = as_uid(3001, || super::connect(&path)) else { return };
    let begin = Instant::now();
    fast.send(notify_line("jo").repeat(14));
    let mut trusted = server.line();
    trusted.send(notify_line("anna").repeat(1000));
    for _ in 0..1000 {
        assert_eq!(trusted.line(), "OK \n");
    }
    assert!(server.count(Listener::XapsSocket, Asked::Notify, Outcome::Taken) < 1014, "not done yet");
    for _ in 0..14 {
        assert_eq!(fast.line(), "OK \n");
    }
    // Ten at once, and four more.
    assert!(begin.elapsed() >= Duration::from_millis(350), "{:?}", begin.elapsed());
}
