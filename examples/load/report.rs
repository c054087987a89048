//! What came of it, for people or as JSON.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use crate::play::{Ledger, Player, Tree};

/// So many of those who were not told are named.
const NAMED: usize = 10;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    mailboxes: usize,
    events: BTreeMap<&'static str, u64>,
    events_a_second: f64,
    /// Those that matter; a move is two.
    changes: u64,
    users_changed: usize,
    pushes: u64,
    /// Of these, how many named no user of ours.
    strangers: u64,
    /// From the last event until everybody was told, or nobody waited any longer.
    settled_s: f64,
    /// New mail for users to whom nothing had happened for a while.
    new_mail: Option<Latency>,
    told: usize,
    /// Of these, how many by a push that was sent while the last change was being made and may have been for an earlier one.
    told_in_doubt: usize,
    untold: usize,
    /// The first of them.
    untold_users: Vec<String>,
}

/// From before the delivery until the push was sent.
#[derive(Debug, Serialize)]
struct Latency {
    count: usize,
    p50_us: u128,
    p99_us: u128,
    max_us: u128,
}

impl Latency {
    fn of(sorted: &[Duration]) -> Option<Self> {
        let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len() - 1));
        let max_us = sorted.last()?.as_micros();
        Some(Self { count: sorted.len(), p50_us: at(50)?.as_micros(), p99_us: at(99)?.as_micros(), max_us })
    }
}

impl Report {
    pub(crate) fn new(
        ledger: &Ledger,
        player: &Player<'_>,
        mailboxes: usize,
        seed: u64,
        played: Duration,
        settled: Duration,
    ) -> Self {
        let events: BTreeMap<_, _> = player.done().map(|(action, count)| (action.as_str(), count)).collect();
        let untold = ledger.untold().count();
        Self {
            seed,
            mailboxes,
            events_a_second: events.values().sum::<u64>() as f64 / played.as_secs_f64(),
            events,
            changes: ledger.changes(),
            users_changed: ledger.users_changed(),
            pushes: ledger.pushes(),
            strangers: ledger.strangers(),
            settled_s: settled.as_secs_f64(),
            new_mail: Latency::of(&ledger.latencies()),
            told: ledger.users_changed() - untold,
            told_in_doubt: ledger.in_doubt(),
            untold,
            untold_users: ledger.untold().take(NAMED).map(Tree::name).collect(),
        }
    }

    /// Is everybody told?
    pub(crate) const fn is_good(&self) -> bool {
        self.untold == 0
    }

    pub(crate) fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if as_json {
            serde_json::to_writer_pretty(&mut out, self)?;
            return writeln!(out);
        }
        let events: u64 = self.events.values().sum();
        let kinds: Vec<_> = self.events.iter().map(|(action, count)| format!("{action} {count}")).collect();
        writeln!(out, "seed                {}", self.seed)?;
        writeln!(out, "mailboxes           {}", self.mailboxes)?;
        writeln!(out, "events              {events} ({})", kinds.join(", "))?;
        writeln!(out, "events/s            {:.0}", self.events_a_second)?;
        writeln!(out, "changes to tell     {}", self.changes)?;
        writeln!(out, "users changed       {}", self.users_changed)?;
        writeln!(out, "pushes              {}", self.pushes)?;
        if self.strangers > 0 {
            writeln!(out, "  for nobody here   {}", self.strangers)?;
        }
        if let Some(Latency { count, p50_us, p99_us, max_us }) = &self.new_mail {
            writeln!(
                out,
                "new mail to push    p50 {p50_us} µs, p99 {p99_us} µs, max {max_us} µs ({count} quiet users)"
            )?;
        }
        writeln!(out, "waited at the end   {:.1} s", self.settled_s)?;
        writeln!(out, "told                {} ({} in doubt)", self.told, self.told_in_doubt)?;
        let first = self.untold_users.join(", ");
        let more = if self.untold > NAMED { ", …" } else { "" };
        writeln!(
            out,
            "untold              {}{}{first}{more}",
            self.untold,
            if self.untold > 0 { ": " } else { "" }
        )
    }
}
