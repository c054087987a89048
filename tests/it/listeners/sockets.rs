//! The sockets' files: who may use them, and who was there before.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixDatagram, UnixListener},
    },
};

use nix::unistd::Group;
use pushmaild::listener::{self, ListenError};
use rustix::process::geteuid;

use super::Setup;

const SOCKETS: [&str; 3] = ["xaps", "datagram", "stream"];

#[test]
fn mode_and_group_are_those_of_the_configuration() {
    for mode in [0o660, 0o600, 0o666, 0o620] {
        let mut setup = Setup::new();
        setup.listen.mode = mode;
        let is_root = geteuid().is_root();
        setup.listen.group = is_root.then(|| "daemon".to_owned());
        let group = Group::from_name("daemon").unwrap().unwrap().gid.as_raw();
        let server = setup.start();
        for name in SOCKETS {
            let found = fs::symlink_metadata(server.path(name)).unwrap();
            assert!(found.file_type().is_socket());
            assert_eq!(found.permissions().mode() & 0o777, mode, "{name}");
            assert!(!is_root || found.gid() == group, "{name}");
        }
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    let setup = Setup::new();
    let path = |name| setup.dir.path().join(name);
    drop(UnixListener::bind(path("xaps")).unwrap());
    drop(UnixDatagram::bind(path("datagram")).unwrap());
    // Of the other kind.
    drop(UnixDatagram::bind(path("stream")).unwrap());
    let server = setup.start();
    assert_eq!(server.line().send(super::register_line("jo")).line(), super::ok());
}

#[test]
fn somebody_elses_socket_or_file_stays_and_nothing_of_ours_is_left() {
    for name in SOCKETS {
        for kind in ["stream", "datagram", "file"] {
            let setup = Setup::new();
            let path = setup.dir.path().join(name);
            let (_stream, _datagram);
            match kind {
                "stream" => _stream = UnixListener::bind(&path).unwrap(),
                "datagram" => _datagram = UnixDatagram::bind(&path).unwrap(),
                _ => fs::write(&path, "precious").unwrap(),
            }
            let error = listener::bind(&setup.listen).expect_err("it is not ours");
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
            assert!(!error.hint().is_empty());
            let left: Vec<_> =
                fs::read_dir(setup.dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
            assert_eq!(left, [name], "{kind}");
        }
    }
}

#[test]
fn a_port_in_use_and_a_group_that_is_not_there() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = Setup::new();
    setup.listen.xaps_http = Some(taken.local_addr().unwrap());
    let error = listener::bind(&setup.listen).expect_err("in use");
    assert!(matches!(error, ListenError::Port { .. }) && error.hint().contains("xapsd"), "{error}");

    setup.listen.xaps_http = None;
    setup.listen.group = Some("no-such-group".to_owned());
    let error = listener::bind(&setup.listen).expect_err("no such group");
    assert_eq!(error.to_string(), "`group` of [listen]: there is no such group: `no-such-group`");
    assert!(error.hint().contains("getent group"));
    assert_eq!(fs::read_dir(setup.dir.path()).unwrap().count(), 0);
}
