//! `pushmaild send USER…`: one datagram for each user now, the old `pushmailnow`.

use std::{path::Path, time::Duration};

use super::{load, output};
use crate::{exit_code::Exit, mailbox::Username, sink::push_notify};

/// How long a busy receiver is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(config: &Path, users: &[String]) -> Exit {
    let config = match load(config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let Some(push_notify) = &config.push_notify else {
        return output::failure(
            Exit::BadConfig,
            format_args!("{}: there is no table [push-notify]", config.path.display()),
            "add it with the `socket` of the push daemon",
        );
    };
    // All names are checked before the first push goes out.
    let mut names = Vec::new();
    for user in users {
        let name = Username::new(user)
            .map_err(|error| error.to_string())
            .and_then(|user| config.mailboxes.username_format.apply(&user).map_err(|error| error.to_string()))
            .and_then(|name| match push_notify.dialect.accepts(&name) {
                Ok(()) => Ok(name),
                Err(error) => {
                    Err(format!("the user `{name}` cannot be named in {}: {error}", push_notify.dialect))
                }
            });
        match name {
            Ok(name) => names.push(name),
            Err(message) => return output::failure(Exit::Failed, message, "nobody was pushed to"),
        }
    }
    match push_notify::send_now(push_notify, &names, PATIENCE) {
        Ok(()) => output::write(Exit::Good, |out| {
            for name in &names {
                writeln!(out, "pushed {name} ({}, {})", push_notify.dialect, push_notify.socket.display())?;
            }
            Ok(())
        }),
        Err((user, error)) => output::failure(
            Exit::Failed,
            format_args!("cannot push to `{user}` through `{}`: {error}", push_notify.socket.display()),
            push_notify::hint(&push_notify.socket, push_notify.dialect, &error),
        ),
    }
}
