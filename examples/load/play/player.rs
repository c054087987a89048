//! A mail server's life.

use std::io;

use super::{Action, Ledger, Mix, Pace, Tree, mailbox::Mailbox, skew::Skew};

/// Who of these users, what of that mix, and who hears of it.
#[derive(Debug)]
pub(crate) struct Player<'a> {
    tree: &'a Tree,
    ledger: &'a Ledger,
    mix: Mix,
    skew: Skew,
    random: fastrand::Rng,
    /// No mailbox gets more messages than this.
    room: usize,
    done: [u64; Action::ALL.len()],
}

impl<'a> Player<'a> {
    pub(crate) fn new(tree: &'a Tree, ledger: &'a Ledger, mix: Mix, seed: u64) -> Self {
        Self {
            tree,
            ledger,
            mix,
            skew: Skew::new(tree.users(), 0.7),
            random: fastrand::Rng::with_seed(seed),
            room: 16,
            done: [0; Action::ALL.len()],
        }
    }

    /// Zipf's exponent: 0 for all users alike, 1 for very few that are very busy.
    #[must_use]
    pub(crate) fn skew(mut self, exponent: f64) -> Self {
        self.skew = Skew::new(self.tree.users(), exponent);
        self
    }

    /// No mailbox gets more messages than this.
    #[must_use]
    pub(crate) fn room(mut self, messages: usize) -> Self {
        self.room = messages.max(1);
        self
    }

    /// Plays at that pace until `stop`, which is told the number of events so far, says so.
    pub(crate) fn play(&mut self, pace: &Pace, stop: &impl Fn(u64) -> bool) -> io::Result<()> {
        for event in 0.. {
            pace.wait(event, &|| stop(event));
            if stop(event) {
                break;
            }
            self.act()?;
        }
        Ok(())
    }

    /// Lets something happen.
    pub(crate) fn act(&mut self) -> io::Result<()> {
        let action = self.mix.draw(&mut self.random);
        let user = self.skew.draw(&mut self.random);
        let did = self.act_on(action, user)?;
        self.done[did as usize] += 1;
        Ok(())
    }

    /// How often each has happened.
    pub(crate) fn done(&self) -> impl Iterator<Item = (Action, u64)> {
        Action::ALL.into_iter().zip(self.done)
    }

    /// What cannot be done to this mailbox makes room for what has to come before it: a message to read has to be opened, one to be opened
    /// has to be delivered, and before that something has to go if there are too many. Returns what was done.
    fn act_on(&mut self, action: Action, user: usize) -> io::Result<Action> {
        let mailbox = self.tree.mailbox(user);
        let messages = mailbox.messages()?;
        let ledger = self.ledger;
        let unread = || messages.iter().find(|message| !message.has('S'));
        match action {
            Action::Deliver | Action::Link => {
                if messages.len() + mailbox.unopened()? < self.room {
                    self.deliver(action, user, &mailbox)?;
                    return Ok(action);
                }
                let next = if messages.is_empty() { Action::Open } else { Action::Expunge };
                self.act_on(next, user)
            }
            Action::Open => {
                if mailbox.unopened()? == 0 {
                    return self.act_on(Action::Deliver, user);
                }
                mailbox.open()?;
                Ok(action)
            }
            Action::Read => {
                let Some(message) = unread() else { return self.act_on(Action::Open, user) };
                ledger.change(user, || mailbox.toggle(message, 'S'))?;
                Ok(action)
            }
            Action::Flag | Action::Expunge | Action::Move => {
                let Some(message) = self.random.choice(&messages) else {
                    return self.act_on(Action::Open, user);
                };
                if action == Action::Flag {
                    ledger.change(user, || mailbox.toggle(message, 'F'))?;
                    return Ok(action);
                }
                let to = self.skew.draw(&mut self.random);
                let elsewhere = self.tree.mailbox(to);
                let moves = action == Action::Move && elsewhere.messages()?.len() < self.room;
                if moves {
                    let copy = elsewhere.prepare_copy(message, &mailbox)?;
                    ledger.change(to, || copy.rename())?;
                }
                ledger.change(user, || mailbox.expunge(message))?;
                Ok(if moves { Action::Move } else { Action::Expunge })
            }
        }
    }

    fn deliver(&self, action: Action, user: usize, mailbox: &Mailbox) -> io::Result<()> {
        let message = mailbox.prepare()?;
        if action == Action::Link {
            self.ledger.delivery(user, || message.link())?;
            return message.clean_up();
        }
        self.ledger.delivery(user, || message.rename())
    }
}
