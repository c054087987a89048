//! A mail server in memory: Maildirs with inodes and mtimes, a clock that ticks slowly, and a kernel's queue of events that overflows.
//! Small and plain, for what it says is the truth that the planner is measured by.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use pushmaild::classifier::Op;
use pushmaild::maildir::Part;
use pushmaild::planner::{Seen, Unseen};
use pushmaild::stamp::Stamp;

/// The clock of mtimes: that of older kernels, and of tmpfs.
const TICK: u64 = 4_000_000;
/// The kernel tells of a change so much later at most: a deliverer that is held up between the two.
pub(super) const LATEST: u64 = 40_000_000;
/// Events that the queue holds.
const QUEUE: usize = 24;

#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) inode: u64,
    mtime: u64,
    messages: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    /// None while it is moved away.
    pub(super) directories: [Option<Directory>; 2],
    /// When something last happened that somebody has to be told, as a number in the order of all that happens.
    pub(super) last_change: u64,
}

/// What the kernel's queue holds.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Entry { inode: u64, op: Op, name: String },
    Gone { inode: u64 },
    Overflow,
}

pub(super) struct World {
    pub(super) mailboxes: Vec<Mailbox>,
    /// Nanoseconds since the world began; what timers go by.
    pub(super) time: u64,
    /// What the wall clock says then: it may be set back.
    wall: i64,
    /// Counts what happens.
    pub(super) order: u64,
    /// Whom a watch on an inode is for. None of it survives the daemon.
    pub(super) watched: HashMap<u64, ()>,
    queue: VecDeque<Event>,
    /// Changes that the kernel has yet to tell of, and when it does.
    late: Vec<(u64, Event)>,
    numbers: u64,
}

impl World {
    pub(super) fn new(mailboxes: usize, rng: &mut Rng) -> Self {
        let mut world = Self {
            mailboxes: Vec::new(),
            time: 0,
            wall: 1_700_000_000_000_000_000,
            order: 0,
            watched: HashMap::new(),
            queue: VecDeque::new(),
            late: Vec::new(),
            numbers: 0,
        };
        for _ in 0..mailboxes {
            let directories = [0, 1].map(|_| Some(world.directory(rng.u64(0..3))));
            world.mailboxes.push(Mailbox { directories, last_change: 0 });
        }
        world.advance(Duration::from_secs(60).as_nanos() as u64);
        world
    }

    fn directory(&mut self, messages: u64) -> Directory {
        self.numbers += 1;
        Directory { inode: self.numbers, mtime: self.mtime(), messages }
    }

    fn wall(&self) -> u64 {
        u64::try_from(self.wall).expect("after 1970") + self.time
    }

    fn mtime(&self) -> u64 {
        self.wall() / TICK * TICK + 1
    }

    pub(super) fn advance(&mut self, nanoseconds: u64) {
        self.time += nanoseconds;
        let now = self.time;
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = late;
        for (_, event) in due {
            self.tell(event);
        }
    }

    /// The wall clock is set back, by something that no tick is a part of.
    pub(super) fn set_clock_back(&mut self, rng: &mut Rng) {
        self.wall -= rng.i64(1..600_000) * 1_000_003;
    }

    fn tell(&mut self, event: Event) {
        let inode = match event {
            Event::Entry { inode, .. } | Event::Gone { inode } => inode,
            Event::Overflow => unreachable!("made below"),
        };
        if !self.watched.contains_key(&inode) {
            return;
        }
        if self.queue.len() < QUEUE {
            self.queue.push_back(event);
        } else if !matches!(self.queue.back(), Some(Event::Overflow)) {
            self.queue.push_back(Event::Overflow);
        }
    }

    /// At once, or a little later.
    fn tell_soon(&mut self, events: Vec<Event>, rng: &mut Rng) {
        let delay = if rng.u8(0..4) == 0 { rng.u64(0..LATEST) } else { 0 };
        for event in events {
            if delay == 0 {
                self.tell(event);
            } else {
                self.late.push((self.time + delay, event));
            }
        }
    }

    pub(super) fn read(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    /// The watching process is gone, and its queue and watches with it.
    pub(super) fn forget_watches(&mut self) {
        self.watched.clear();
        self.queue.clear();
    }

    pub(super) fn look(&self, mailbox: usize, part: Part) -> Result<Seen, Unseen> {
        let directory = self.mailboxes[mailbox].directories[part as usize].as_ref().ok_or(Unseen::Missing)?;
        let split = |time: u64| (time / 1_000_000_000, time % 1_000_000_000);
        let (seconds, nanoseconds) = split(directory.mtime);
        let mtime = (seconds.cast_signed(), nanoseconds.cast_signed());
        let stamp = Stamp::new(7, directory.inode, mtime, Duration::from_nanos(self.wall()));
        Ok(Seen { stamp, holds_message: directory.messages > 0 })
    }

    /// Something happens to a mailbox.
    pub(super) fn change(&mut self, mailbox: usize, rng: &mut Rng) {
        self.order += 1;
        let order = self.order;
        let cookie = u32::try_from(order).expect("few");
        let name = format!("{order}.M1P1.host");
        let flagged = format!("{name}:2,S");
        let now = self.mtime();
        let touch = |directory: &mut Directory, messages: i64| {
            directory.mtime = now;
            directory.messages = directory.messages.saturating_add_signed(messages);
            directory.inode
        };
        let (mut matters, mut events) = (true, Vec::new());
        let [new, cur] = &mut self.mailboxes[mailbox].directories;
        match (rng.u8(0..14), new, cur) {
            // A delivery, by rename or by link.
            (0..=3, Some(new), _) => {
                let op = if rng.bool() { Op::MovedTo(cookie) } else { Op::Created };
                events.push(Event::Entry { inode: touch(new, 1), op, name });
            }
            // A client opens the mailbox: nobody need be told. Or it reads a new message at once.
            (kind @ 4..=6, Some(new), Some(cur)) if new.messages > 0 => {
                matters = kind == 6;
                let from = touch(new, -1);
                let into = touch(cur, 1);
                events.push(Event::Entry { inode: from, op: Op::MovedFrom(cookie), name: name.clone() });
                let name = if matters { flagged } else { name };
                events.push(Event::Entry { inode: into, op: Op::MovedTo(cookie), name });
            }
            // A flag.
            (7..=8, _, Some(cur)) if cur.messages > 0 => {
                let inode = touch(cur, 0);
                events.push(Event::Entry { inode, op: Op::MovedFrom(cookie), name });
                events.push(Event::Entry { inode, op: Op::MovedTo(cookie), name: flagged });
            }
            // An expunge, or a move to elsewhere.
            (9..=10, _, Some(cur)) if cur.messages > 0 => {
                let op = if rng.bool() { Op::Deleted } else { Op::MovedFrom(cookie) };
                events.push(Event::Entry { inode: touch(cur, -1), op, name: flagged });
            }
            // Files that servers leave there.
            (11, _, Some(cur)) => {
                matters = false;
                events.push(Event::Entry {
                    inode: touch(cur, 0),
                    op: Op::Created,
                    name: "dovecot-x.lock".to_owned(),
                });
            }
            // Another directory in its place, with mtimes of old, as a restored one has. The kernel tells whoever watches the old one, or,
            // when it was a directory above that was renamed, nobody.
            (12, _, _) => {
                let part = rng.usize(0..2);
                let messages = rng.u64(0..3);
                let mut restored = self.directory(messages);
                restored.mtime -= rng.u64(1..1_000) * 3_600_000_000_007;
                let old = self.mailboxes[mailbox].directories[part].replace(restored);
                if let Some(old) = old.filter(|_| rng.bool()) {
                    events.push(Event::Gone { inode: old.inode });
                }
            }
            // Taken away, and brought back some time.
            (13, _, _) => {
                let part = rng.usize(0..2);
                let back = self.directory(1);
                let directory = &mut self.mailboxes[mailbox].directories[part];
                match directory.take() {
                    // What was in it nobody can look at; when something is there again, that is told.
                    Some(old) => {
                        matters = false;
                        self.mailboxes[mailbox].last_change = 0;
                        events.push(Event::Gone { inode: old.inode });
                    }
                    None => *directory = Some(back),
                }
            }
            _ => return,
        }
        if matters {
            self.mailboxes[mailbox].last_change = order;
        }
        self.tell_soon(events, rng);
    }
}
