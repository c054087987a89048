//! What threads do to arm a directory: first the watch, then the look.

use std::{path::Path, sync::Arc};

use super::jobs::{look_into, see};
use crate::{
    maildir::Part,
    planner::{Seen, Unseen},
    stamp::Stamp,
    watcher::{Arm, ArmError, RawWatch, Role},
};

/// What a thread found of one directory that it was to arm.
pub(super) enum ArmedPart {
    /// It is watched already, and is still what was watched.
    Same(Result<Seen, Unseen>),
    /// It is watched already, and something else is there now.
    Other,
    /// It is armed, and was looked at after that.
    New { watch: RawWatch, polled: bool, seen: Result<Seen, Unseen> },
    /// It could not be armed.
    Failed(ArmError),
}

/// What threads arm with.
#[derive(Clone)]
pub(super) struct Armers {
    pub(super) primary: Arc<dyn Arm>,
    /// For what the primary backend has no room for.
    pub(super) fallback: Arc<dyn Arm>,
    pub(super) primary_polls: bool,
}

impl Armers {
    /// Arms a directory, unless it is what is watched already.
    pub(super) fn arm(&self, part: Part, directory: &Path, known: Option<Stamp>, armed: bool) -> ArmedPart {
        if armed {
            let seen = see(part, directory, known);
            let is_same = match (&seen, known) {
                (Ok(seen), Some(known)) => seen.stamp.same_directory(&known),
                (Err(unseen), _) => *unseen == Unseen::Unknown,
                (Ok(_), None) => false,
            };
            return if is_same { ArmedPart::Same(seen) } else { ArmedPart::Other };
        }
        let role = Role::Part(part);
        let (watch, polled) = match self.primary.arm(role, directory) {
            Ok(watch) => (watch, self.primary_polls),
            Err(ArmError::Limit) => match self.fallback.arm(role, directory) {
                Ok(watch) => (watch, true),
                Err(error) => return ArmedPart::Failed(error),
            },
            Err(error) => return ArmedPart::Failed(error),
        };
        let seen = match watch.first_look() {
            Some(stamp) => Ok(look_into(part, directory, stamp, known)),
            None => see(part, directory, known),
        };
        ArmedPart::New { watch, polled, seen }
    }
}
