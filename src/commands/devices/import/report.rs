//! What an import did or would do, for programs and for people.

use std::collections::HashMap;

use serde::Serialize;

use super::{Counted, registrations};
use crate::{commands::output, count::count, exit_code::Exit, registry::import::Left};

/// How many entries of one kind are named.
const NAMED: usize = 10;

/// All that the import did, or would do.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) store: String,
    pub(super) format: &'static str,
    pub(super) dry_run: bool,
    /// That were not in the registry.
    pub(super) new: usize,
    /// That were, and were made again since.
    pub(super) newer: usize,
    pub(super) already_there: usize,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) topic: Option<String>,
    /// Whose registrations wait for a mailbox.
    pub(super) users_not_in_map: Vec<String>,
    /// Registrations that count from the import on.
    pub(super) without_time: usize,
    pub(super) older_than_expire: usize,
    /// Mailboxes that are in the store as a hash of an unusual name.
    pub(super) unknown_mailboxes: usize,
    pub(super) notes: Vec<String>,
    pub(super) hints: Vec<&'static str>,
}

#[derive(Serialize)]
pub(super) struct LeftOut {
    what: String,
    why: String,
}

impl Report {
    pub(super) fn count(&mut self, counted: Counted) {
        self.new += counted.new;
        self.newer += counted.newer;
        self.already_there += counted.already_there;
        self.without_time += counted.without_time;
        self.older_than_expire += counted.older_than_expire;
        counted.left.into_iter().for_each(|left| self.leave(left));
    }

    pub(super) fn leave(&mut self, Left { what, why, hint }: Left) {
        if !hint.is_empty() && !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
        self.left_out.push(LeftOut { what, why });
    }

    /// For people: reasons with their first entries, not a line for each of a hundred thousand.
    pub(super) fn print(&self, exit: Exit, format: &str) -> Exit {
        let Self { new, newer, already_there, without_time, older_than_expire, unknown_mailboxes, .. } = self;
        output::write(exit, |out| {
            let would = if self.dry_run { "would take" } else { "took" };
            writeln!(out, "{would} {} from {} ({format})", registrations(new + newer), self.store)?;
            if *newer > 0 {
                writeln!(out, "  of which the registry had {newer}, registered earlier")?;
            }
            if *already_there > 0 {
                writeln!(out, "already there: {}", registrations(*already_there))?;
            }
            if !self.left_out.is_empty() {
                writeln!(out, "left out: {}", count(self.left_out.len(), "entry", "entries"))?;
            }
            for (why, what) in self.reasons() {
                writeln!(out, "  {why}:")?;
                for what in what.iter().take(NAMED) {
                    writeln!(out, "    {what}")?;
                }
                if what.len() > NAMED {
                    writeln!(out, "    and {} more", what.len() - NAMED)?;
                }
            }
            if let Some(topic) = &self.topic {
                writeln!(out, "topic: {topic}")?;
            }
            if *without_time > 0 {
                writeln!(
                    out,
                    "note: {} without a time, which count from today on",
                    registrations(*without_time)
                )?;
            }
            if *older_than_expire > 0 {
                writeln!(
                    out,
                    "note: {} older than `expire` under [registry], which count from today on",
                    registrations(*older_than_expire)
                )?;
            }
            if *unknown_mailboxes > 0 {
                let mailboxes = count(*unknown_mailboxes, "subscription", "subscriptions");
                writeln!(
                    out,
                    "note: {mailboxes} to mailboxes with unusual names, which the store has as a hash only, are not kept"
                )?;
            }
            if let Some((first, rest)) = self.users_not_in_map.split_first() {
                let users = count(self.users_not_in_map.len(), "user is", "users are");
                let named: Vec<_> =
                    std::iter::once(first).chain(rest).take(NAMED).map(String::as_str).collect();
                let more = self.users_not_in_map.len() - named.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                writeln!(
                    out,
                    "note: {users} not in the map yet, and pushed to once their mailboxes are there: {}{more}",
                    named.join(", ")
                )?;
            }
            for note in &self.notes {
                writeln!(out, "note: {note}")?;
            }
            for hint in &self.hints {
                writeln!(out, "hint: {hint}")?;
            }
            Ok(())
        })
    }

    /// The reasons in the order in which they came up, each with what was left out for it.
    fn reasons(&self) -> Vec<(&str, Vec<&str>)> {
        let mut places = HashMap::new();
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for LeftOut { what, why } in &self.left_out {
            let place = *places.entry(why.as_str()).or_insert(reasons.len());
            if place == reasons.len() {
                reasons.push((why, Vec::new()));
            }
            if let Some((_, all)) = reasons.get_mut(place) {
                all.push(what);
            }
        }
        reasons
    }
}
