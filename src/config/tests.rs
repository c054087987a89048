use std::{path::Path, time::Duration};

use super::{Backend, Config, WatchedMailboxes};
use crate::{mailbox::source::Source, proto::push_notify::Dialect};

fn parse(text: &str) -> Config {
    match Config::parse(Path::new("/etc/pushmaild/pushmaild.toml"), text) {
        Ok(config) => config,
        Err(error) => panic!("{error}; hint: {}", error.hint()),
    }
}

#[test]
fn what_is_left_out_is_as_the_documents_say() {
    let config = parse("[mailboxes]\nmap-file = 'users'\n[push-notify]\nsocket = 'sock'\n");
    assert_eq!(config.watch.backend, Backend::Auto);
    assert_eq!(config.watch.sweep_interval, Some(Duration::from_secs(600)));
    assert_eq!(config.watch.poll_interval, Duration::from_secs(30));
    assert_eq!(config.debounce.new_mail, Duration::from_secs(2));
    assert_eq!(config.debounce.change_quiet, Duration::from_secs(10));
    assert_eq!(config.debounce.change_max_wait, Duration::from_secs(60));
    assert_eq!(config.push_notify.map(|sink| sink.dialect), Some(Dialect::Osx108));
    assert_eq!(parse("[mailboxes]\nmap-file = 'users'\n").push_notify, None);
}

#[test]
fn a_relative_path_is_relative_to_the_file() {
    let config = parse(
        "[mailboxes]\nmap-file = 'users'\nusers = { jesse = 'mail', jo = '/abs' }\n[push-notify]\nsocket = 'sock'",
    );
    let [Source::Users(users), Source::MapFile(file)] = config.mailboxes.sources.as_slice() else { panic!() };
    assert_eq!(users[0].1, Path::new("/etc/pushmaild/mail"));
    assert_eq!(users[1].1, Path::new("/abs"));
    assert_eq!(file, Path::new("/etc/pushmaild/users"));
    assert_eq!(config.push_notify.expect("a sink").socket, Path::new("/etc/pushmaild/sock"));
}

#[test]
fn a_program_is_found_as_a_shell_finds_it_and_is_a_sink_for_everybody() {
    let with = |program: &str| {
        parse(&format!(
            "[mailboxes]\nmap-file = 'users'\n[apns]\ntopic = 'com.apple.mobilemail.push.org.example'\n[exec]\ncommand = ['{program}']"
        ))
    };
    for (program, found) in
        [("on-mail", "on-mail"), ("./on-mail", "/etc/pushmaild/./on-mail"), ("/on-mail", "/on-mail")]
    {
        let config = with(program);
        let exec = config.exec.expect("a sink");
        assert_eq!(exec.command.program, Path::new(found));
        assert_eq!((exec.concurrency, exec.timeout), (4, Duration::from_secs(30)));
        // Nobody knows whom a program tells.
        assert_eq!(config.watch.mailboxes, WatchedMailboxes::All);
    }
}

#[test]
fn sources_stand_in_the_order_of_precedence() {
    let config = parse(
        "[mailboxes]\nos-x-server = 'partitions'\ndoveadm = {}\npasswd = {}\nmail-location = 'maildir:/m/%n'\nmap-file = '/users'\nusers.jesse = '/m/jesse'\n[watch]\nsweep-interval = 'off'",
    );
    let kinds: Vec<_> = config.mailboxes.sources.iter().map(|source| source.kind().to_string()).collect();
    assert_eq!(kinds, ["users", "map-file", "mail-location", "passwd", "doveadm", "os-x-server"]);
    assert_eq!(config.watch.sweep_interval, None);
}

/// A command is looked for as a shell does it.
#[test]
fn the_command_of_doveadm() {
    for (value, expected) in [
        ("{}", "doveadm"),
        ("{ command = 'doveadm-2.4' }", "doveadm-2.4"),
        ("{ command = './doveadm' }", "/etc/pushmaild/./doveadm"),
        ("{ command = 'bin/doveadm' }", "/etc/pushmaild/bin/doveadm"),
        ("{ command = '/usr/bin/doveadm' }", "/usr/bin/doveadm"),
    ] {
        let config = parse(&format!("[mailboxes]\ndoveadm = {value}\n"));
        let [Source::Doveadm(doveadm)] = config.mailboxes.sources.as_slice() else { panic!() };
        assert_eq!(doveadm.command.as_os_str(), expected, "{value}");
        assert_eq!(doveadm.refresh, Duration::from_secs(3600));
    }
}

/// What the system would refuse for every user is refused before anybody has mail.
#[test]
fn a_command_that_no_program_can_be_given_is_refused() {
    let with = |length: usize| {
        let text = format!(
            "[mailboxes]\nmap-file = 'users'\n[exec]\ncommand = ['/bin/true', '{}']\n",
            "x".repeat(length)
        );
        Config::parse(Path::new("/etc/pushmaild/pushmaild.toml"), &text)
    };
    // Each with the NUL that ends it.
    let most = 64 * 1024 - "/bin/true".len() - 2;
    assert!(with(most).is_ok());
    let error = with(most + 1).expect_err("too long");
    assert!(
        error.to_string().contains("pushmaild.toml:4:11") && error.to_string().contains("65537 bytes"),
        "{error}"
    );
    assert!(error.hint().contains("name the file"), "{}", error.hint());
}
