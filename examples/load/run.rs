//! `load run`: lets things happen, listens, and waits until everybody is told.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Failure,
    options::RunOptions,
    play::{Ledger, Listener, Pace, Player, Tree},
    report::Report,
    show_progress,
};

/// How often a person sees how far it is.
const GLANCE: Duration = Duration::from_millis(500);

/// Is everybody told?
pub(crate) fn run(options: &RunOptions) -> Result<bool, Failure> {
    let tree = Tree::open(options.dir.join("mail")).map_err(|error| {
        format!("there are no mailboxes in {}: {error}; see `make`", options.dir.display())
    })?;
    if tree.users() == 0 {
        return Err(format!("there are no mailboxes in {}; see `make`", options.dir.display()).into());
    }
    let socket = options.socket.clone().unwrap_or_else(|| options.dir.join("push_notify"));
    let ledger = Arc::new(Ledger::new(tree.users()));
    let listener = Listener::bind(&socket, Arc::clone(&ledger))?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));

    let mut player =
        Player::new(&tree, &ledger, options.mix.clone(), seed).skew(options.skew).room(options.room.into());
    let pace = Pace::new(options.rate);
    let shown = Cell::new(Instant::now());
    let show = |text: &dyn Fn() -> String| {
        if shown.get().elapsed() >= GLANCE {
            shown.set(Instant::now());
            show_progress(&text());
        }
    };
    player.play(&pace, &|events| {
        show(&|| format!("{events} events, {} pushes", ledger.pushes()));
        options.events.map_or_else(|| pace.elapsed() >= options.time, |wanted| events >= wanted)
    })?;
    let played = pace.elapsed();
    let settled = ledger.settle(options.settle, || {
        show(&|| format!("{} users are to be told", ledger.untold().count()));
    });
    show_progress("");
    drop(listener);

    let report = Report::new(&ledger, &player, tree.users(), seed, played, settled);
    report.print(options.json)?;
    Ok(report.is_good())
}
