//! The whole daemon under each fault that the simulator of Apple makes.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::post::Post;
use crate::credentials::forge::Forge;
use crate::support::Daemon;

const USERS: u64 = 40;
/// The files of the credential are looked at every ten seconds.
const LOOK: Duration = Duration::from_secs(13);

/// Two messages for each user under a fault; nobody is lost, and there are few dials.
#[track_caller]
fn under(fault: &str, dials: u64) {
    let post = Post::new(USERS);
    let daemon = post.start();
    post.apns.tell(fault);
    for round in 1..=2 {
        post.deliver();
        post.all_pushed(round);
    }
    let stats = post.apns.stats();
    let connections = stats.connections + stats.closed_at_once;
    assert!(connections <= dials, "{connections} connections under `{fault}`");
    daemon.stop();
}

/// Two messages for each user, the second during a fault that is over after a while.
#[track_caller]
fn during(post: &Post, daemon: &Daemon, fault: &str, seen: &str, heal: &str) {
    post.deliver();
    post.all_pushed(1);
    post.apns.tell(fault);
    post.deliver();
    daemon.wait_log(seen);
    post.apns.tell(heal);
    post.all_pushed(2);
}

#[test]
fn goaway() {
    // 80 pushes, and those that come again.
    under("goaway every 10", 16);
}

#[test]
fn cut_connections() {
    under("drop every 10", 30);
}

#[test]
fn refused_streams() {
    under("refuse-streams every 5", 1);
}

#[test]
fn slow_answers() {
    under("slow 300", 1);
}

#[test]
fn one_stream() {
    under("streams 1", 2);
}

#[test]
fn a_service_that_is_not_available() {
    under("answer 503 ServiceUnavailable count 5", 1);
    under("answer 429 TooManyRequests count 30", 1);
}

#[test]
fn refused_connections() {
    let post = Post::new(USERS);
    let daemon = post.start();
    post.apns.tell("refuse-connections");
    post.deliver();
    daemon.wait_log("cannot push through Apple");
    post.apns.tell("accept-connections");
    post.all_pushed(1);
    assert_eq!(post.apns.stats().connections, 1);
    daemon.stop();
}

#[test]
fn connections_that_end_before_tls() {
    let post = Post::new(USERS);
    let daemon = post.start();
    post.apns.tell("accept-then-close");
    post.deliver();
    daemon.wait_log("cannot push through Apple");
    post.apns.tell("accept-connections");
    post.all_pushed(1);
    daemon.stop();
}

#[test]
fn a_path_that_freezes() {
    let post = Post::new(USERS);
    let daemon = post.start();
    during(&post, &daemon, "freeze", "takes no more: answers do not come", "thaw");
    assert!(post.apns.stats().connections <= 3);
    daemon.stop();
}

#[test]
fn a_simulator_that_goes_away_and_comes_back() {
    let mut post = Post::new(USERS);
    post.apns.kill();
    let daemon = post.start();
    post.deliver();
    daemon.wait_log("cannot push through Apple");
    post.apns.start_again();
    post.all_pushed(1);
    post.apns.kill();
    post.deliver();
    let mark = daemon.log_mark();
    daemon.wait_log_since(mark, "cannot push through Apple");
    // The count of the new one begins anew.
    post.apns.start_again();
    post.all_pushed(1);
    daemon.stop();
}

/// A credential that is no good, a word of the log that says so, and a good one in its place.
#[track_caller]
fn renewed(post: &Post, trouble: &str) {
    let daemon = post.start();
    post.deliver();
    let line = daemon.wait_log("does not accept the credential");
    assert!(line.contains(trouble), "{line}");
    post.take("client.pem");
    assert!(post.all_pushed(1) <= LOOK);
    let stats = post.apns.stats();
    // One that was refused, and the good one.
    assert!(stats.connections + stats.handshakes_failed <= 3, "{stats:?}");
    daemon.stop();
}

#[test]
fn an_expired_certificate_is_replaced() {
    let post = Post::new(USERS);
    post.take("expired.pem");
    renewed(&post, "expired");
}

#[test]
fn a_certificate_for_the_other_environment_is_replaced() {
    let post = Post::new(USERS);
    post.take("sandbox-only.pem");
    renewed(&post, "BadCertificateEnvironment");
}

#[test]
fn a_certificate_from_elsewhere_is_replaced() {
    let post = Post::new(USERS);
    let forge = Forge::new();
    forge.sh("cat ec.key ec.pem > both.pem");
    post.take(forge.path("both.pem"));
    renewed(&post, "TLS alert");
}

#[test]
fn a_certificate_that_is_not_there_yet() {
    let post = Post::new(USERS);
    fs::remove_file(post.certificate()).unwrap();
    let daemon = post.start();
    post.deliver();
    daemon.wait_log("pushes to Apple wait");
    post.take("client.pem");
    assert!(post.all_pushed(1) <= LOOK);
    daemon.stop();
}

#[test]
fn sigterm_while_pushes_are_on_the_wire() {
    let post = Post::new(USERS);
    let daemon = post.start();
    post.apns.tell("slow 200");
    post.deliver();
    post.apns.wait_for(1);
    daemon.stop();
    post.all_pushed(1);
    assert!((0..USERS).all(|number| post.is_noted(number)), "what was accepted is noted");
}

#[test]
fn sigterm_while_apple_does_not_answer() {
    let post = Post::new(USERS);
    let mut daemon = post.start();
    post.deliver();
    post.all_pushed(1);
    post.apns.tell("freeze");
    post.deliver();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(Duration::from_secs(5)).success());
}
