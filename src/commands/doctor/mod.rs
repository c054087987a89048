//! `pushmaild doctor`: each link of the chain from a Maildir to a phone, tested by itself.
//!
//! Nothing is written into a Maildir, and no phone is pushed: what the daemon watches is asked of it and compared with the disk, and Apple
//! is asked with a device token that nobody has.

mod chain;
mod credential;
mod daemon;
mod devices;
mod mailbox;
mod sinks;

use std::{io::IsTerminal, path::Path};

use self::chain::Chain;
use super::{load, output};
use crate::{exit_code::Exit, mailbox::Username};

pub(super) fn run(config: &Path, user: Option<&Username>, json: bool) -> Exit {
    let config = match load(config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let user = match user.map(|user| config.mailboxes.username_format.apply(user)).transpose() {
        Ok(user) => user,
        Err(error) => {
            return output::failure(Exit::Failed, error, "name one of the users of `pushmaild users`");
        }
    };
    let mut chain = Chain::new(user.as_ref());
    chain.good("configuration", format!("`{}`", config.path.display()));
    let mailbox = mailbox::test(&mut chain, &config, user.as_ref());
    let daemon = daemon::test(&mut chain, &config, &mailbox);
    sinks::test(&mut chain, &config, daemon.as_ref());
    if let Some(apns) = &config.apns {
        let topic = credential::test(&mut chain, apns, daemon.as_ref());
        devices::test(&mut chain, &config, &mailbox, topic.as_deref());
    }
    daemon::last_push(&mut chain, daemon.as_ref(), user.as_ref());
    let exit = if chain.is_whole() { Exit::Good } else { Exit::Failed };
    if json {
        return output::json(exit, &chain);
    }
    output::write_folded(exit, |out| chain.write(std::io::stdout().is_terminal(), out))
}
