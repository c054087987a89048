//! The links that were tested, and how each was found.

use std::io::{self, Write};

use serde::Serialize;

use super::super::output::paint;
use crate::{mailbox::Username, plain::plain};

/// How a link was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Good,
    /// It works, and may not be what was meant.
    Warning,
    /// No push gets past it.
    Broken,
    /// It could not be tested, for another one is broken.
    Untested,
}

impl State {
    const fn mark(self) -> (&'static str, &'static str) {
        match self {
            Self::Good => ("✔", "32"),
            Self::Warning => ("!", "33;1"),
            Self::Broken => ("✘", "31;1"),
            Self::Untested => ("–", "2"),
        }
    }
}

#[derive(Debug, Serialize)]
struct Link {
    link: &'static str,
    state: State,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// All links, from the Maildir to the phone.
#[derive(Debug, Serialize)]
pub(super) struct Chain {
    user: Option<String>,
    ok: bool,
    links: Vec<Link>,
}

impl Chain {
    pub(super) fn new(user: Option<&Username>) -> Self {
        Self { user: user.map(ToString::to_string), ok: true, links: Vec::new() }
    }

    pub(super) fn good(&mut self, link: &'static str, message: impl Into<String>) {
        self.add(link, State::Good, message, None);
    }

    pub(super) fn warning(
        &mut self,
        link: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(link, State::Warning, message, Some(hint.into()));
    }

    pub(super) fn broken(&mut self, link: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.ok = false;
        self.add(link, State::Broken, message, Some(hint.into()));
    }

    pub(super) fn untested(&mut self, link: &'static str, message: impl Into<String>) {
        self.add(link, State::Untested, message, None);
    }

    /// The last link is as it is because of another one that is broken: it is told, and not counted as a cause.
    pub(super) fn last_is_a_consequence(&mut self) {
        if let Some(link) = self.links.last_mut().filter(|link| link.state == State::Broken) {
            (link.state, link.hint) = (State::Untested, None);
        }
    }

    fn add(&mut self, link: &'static str, state: State, message: impl Into<String>, hint: Option<String>) {
        self.links.push(Link { link, state, message: message.into(), hint });
    }

    /// Is no link broken?
    pub(super) const fn is_whole(&self) -> bool {
        self.ok
    }

    pub(super) fn write(&self, colours: bool, out: &mut dyn Write) -> io::Result<()> {
        for Link { link, state, message, hint } in &self.links {
            let (mark, colour) = state.mark();
            writeln!(out, "{} {link:13}  {}", paint(colours, colour, mark), plain(message))?;
            if let Some(hint) = hint {
                writeln!(out, "                 {} {}", paint(colours, "36", "hint:"), plain(hint))?;
            }
        }
        let broken: Vec<_> =
            self.links.iter().filter(|link| link.state == State::Broken).map(|link| link.link).collect();
        let of = self.user.as_ref().map_or_else(String::new, |user| format!(" for {user}"));
        if broken.is_empty() {
            writeln!(out, "\n{}", paint(colours, "32;1", &format!("nothing is broken{of}")))
        } else {
            let broken = broken.join(", ");
            writeln!(out, "\n{}", paint(colours, "31;1", &format!("broken{of}: {broken}")))
        }
    }
}
