//! Where pushes go on this machine: the push_notify socket, and what the daemon says of its sinks.

use super::{chain::Chain, daemon::Daemon};
use crate::{
    config::{Config, Exec},
    control::status::{SinkState, SinkStatus},
    sink::{exec::program, push_notify},
    unix_socket,
};

/// The configuration was changed.
const RELOAD: &str = "the configuration has changed since the daemon read it: `systemctl reload pushmaild`";

pub(super) fn test(chain: &mut Chain, config: &Config, daemon: Option<&Daemon>) {
    const LINK: &str = "socket";
    if let Some(sink) = &config.push_notify {
        let path = sink.socket.display();
        // The daemon's user may not be allowed what whoever asks here is.
        let of_daemon = status(daemon, "push-notify").and_then(|sink| sink.trouble.as_ref());
        let target = status(daemon, "push-notify").map(|sink| &sink.target);
        match (unix_socket::probe(&sink.socket, sink.dialect.is_stream()), of_daemon) {
            _ if is_without(daemon, "push-notify") => {
                chain.broken(LINK, "the daemon runs without [push-notify]", RELOAD);
            }
            _ if target.is_some_and(|target| *target != path.to_string()) => chain.broken(
                LINK,
                format!("the daemon pushes through `{}` instead of `{path}`", target.map_or("", |target| target)),
                RELOAD,
            ),
            (Err(error), _) => chain.broken(
                LINK,
                format!("`{path}` cannot be reached: {error}"),
                push_notify::hint(&sink.socket, sink.dialect, &error),
            ),
            (Ok(()), Some(trouble)) => chain.broken(
                LINK,
                format!("somebody listens at `{path}`, and the daemon cannot send: {trouble}"),
                "the daemon runs as another user than you, who has to be able to write to the socket and to enter its folder: \
                 `SupplementaryGroups=` with the socket's group, by `systemctl edit pushmaild`",
            ),
            (Ok(()), None) => chain.good(LINK, format!("somebody listens at `{path}`")),
        }
    }
    if let Some(exec) = &config.exec {
        program(chain, exec, daemon);
    }
    if config.push_notify.is_none() && config.apns.is_none() && config.exec.is_none() {
        chain.broken(
            LINK,
            "there is no sink to push to",
            "add a table [push-notify] with the `socket` of the push daemon, [apns] with a certificate, or [exec] with a command",
        );
    }
}

fn program(chain: &mut Chain, exec: &Exec, daemon: Option<&Daemon>) {
    const LINK: &str = "program";
    let path = exec.command.program.display();
    let of_daemon = status(daemon, "exec");
    match (program::find(&exec.command.program), of_daemon.and_then(|sink| sink.trouble.as_ref())) {
        _ if is_without(daemon, "exec") => chain.broken(LINK, "the daemon runs without [exec]", RELOAD),
        (Err(program::Unusable { message, hint }), _) => chain.broken(LINK, message, hint),
        (Ok(_), Some(trouble)) => chain.broken(
            LINK,
            format!("the daemon says: {trouble}"),
            "the daemon runs as another user than you: that user has to be able to run the program",
        ),
        (Ok(_), None) => {
            match of_daemon.filter(|sink| sink.delivered == 0).and_then(|sink| sink.last_error.as_ref()) {
                Some(error) => chain.broken(
                    LINK,
                    format!("no run of `{path}` has gone well; the last one: {}", error.message),
                    "run it by hand as the daemon's user, with the same arguments",
                ),
                None => chain.good(LINK, format!("`{path}` can be run")),
            }
        }
    }
}

/// Does the daemon run without this sink, which the configuration has by now?
pub(super) fn is_without(daemon: Option<&Daemon>, name: &str) -> bool {
    daemon.is_some_and(|daemon| !daemon.status.sinks.is_empty()) && status(daemon, name).is_none()
}

/// What the daemon says of one of its sinks, if that is trouble or not.
pub(super) fn status<'a>(daemon: Option<&'a Daemon>, name: &str) -> Option<&'a SinkStatus> {
    daemon?.status.sinks.iter().find(|sink| sink.name == name)
}

/// Why nothing goes out through one of the daemon's sinks.
pub(super) fn trouble<'a>(daemon: Option<&'a Daemon>, name: &str) -> Option<&'a str> {
    status(daemon, name).filter(|sink| sink.state == SinkState::Trouble)?.trouble.as_deref()
}
