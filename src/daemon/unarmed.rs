//! The mailboxes that wait for their watches, in the order in which threads arm them.

use std::{collections::VecDeque, time::Instant};

use super::{
    jobs::{Armed, CHUNK, Jobs, ToArm},
    pipeline::Pipeline,
    watching::Watching,
};
use crate::{mailbox::MailboxId, planner::Arrival};

/// What is made and removed over and over by somebody is armed so many times, and then left to the sweep.
const TRIES: u8 = 4;

/// A mailbox that is to be armed.
struct Arming {
    id: MailboxId,
    /// Something of it appeared while we looked on.
    appeared: bool,
    /// How often it has been tried in a row.
    tries: u8,
}

#[derive(Default)]
pub(super) struct Unarmed {
    to_arm: VecDeque<Arming>,
    /// What mailboxes without a record are that were not seen to appear. None while the records are being read: nothing is armed then.
    arrival: Option<Arrival>,
}

impl Unarmed {
    pub(super) fn is_empty(&self) -> bool {
        self.to_arm.is_empty()
    }

    pub(super) const fn may_arm(&self) -> bool {
        self.arrival.is_some()
    }

    /// The records of the last process are known to the planner, as far as there are any: arming may begin.
    pub(super) fn records_are_read(&mut self, arrival: Arrival) {
        self.arrival = Some(arrival);
    }

    /// Is there anything to arm, now?
    pub(super) fn wants_arming(&self) -> bool {
        !self.to_arm.is_empty() && self.may_arm()
    }

    /// Queues mailboxes. `appeared`: did something of them appear while the daemon runs?
    pub(super) fn add(&mut self, mailboxes: impl IntoIterator<Item = MailboxId>, appeared: bool) {
        self.to_arm.extend(mailboxes.into_iter().map(|id| Arming { id, appeared, tries: 0 }));
    }

    /// Lets threads arm as many as they have room for.
    pub(super) fn arm_some(&mut self, jobs: &mut Jobs, watching: &mut Watching, pipeline: &Pipeline) {
        while self.wants_arming() && jobs.has_room() {
            let chunk = self.to_arm.drain(..self.to_arm.len().min(CHUNK));
            let wanted = chunk.filter(|arming| pipeline.is_wanted(arming.id));
            let to_arm = wanted.filter_map(|Arming { id, appeared, tries }| {
                Some(ToArm {
                    id,
                    maildir: pipeline.map.maildir(id)?.to_path_buf(),
                    appeared,
                    tries,
                    known: pipeline.planner.known(id),
                    armed: watching.armed_parts(id),
                })
            });
            jobs.arm(to_arm.collect(), watching.armers());
        }
    }

    /// Takes in what a thread armed.
    pub(super) fn adopt(
        &mut self,
        mailboxes: Vec<Armed>,
        jobs: &Jobs,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        for armed in mailboxes {
            let Armed { id, appeared, tries, .. } = armed;
            // Meanwhile it may be gone, or nobody's affair any more.
            if pipeline.map.maildir(id) != Some((&armed.maildir).into()) || !pipeline.is_wanted(id) {
                watching.give_up(armed.parts);
                continue;
            }
            let arrival = match (appeared, self.arrival) {
                (false, Some(arrival)) => arrival,
                _ => Arrival::Appeared,
            };
            let again = watching.adopt(armed, arrival, &mut pipeline.planner, now);
            if again && tries < TRIES {
                self.to_arm.push_back(Arming { id, appeared: true, tries: tries + 1 });
            }
        }
        if self.to_arm.is_empty() && !jobs.is_arming() {
            self.to_arm = VecDeque::new();
            watching.end_of_round();
        }
    }
}
