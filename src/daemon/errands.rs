//! What a read told beside events of mailboxes, and what is done about it.

use std::{collections::HashSet, time::Instant};

use super::{
    comparison::{self, kind_of_change},
    jobs::Why,
    pipeline::Pipeline,
    upkeep::{MAP_FILE_QUIET, Upkeep},
    watching::Watching,
};
use crate::{classifier::Kind, mailbox::MailboxId, maildir::Part, planner, stamp::Stamp, watcher::ParentId};

/// Something that events told and that is dealt with after the read.
#[derive(Debug)]
pub(super) enum Errand {
    /// A watch of a mailbox is gone.
    Lost(MailboxId, Part),
    /// A directory changed, and at most it is known whether something arrived in it, and what a look saw then.
    Touched { part: (MailboxId, Part), arrived: Option<bool>, seen: Option<Stamp> },
    /// The watch of a parent is gone.
    ParentLost(ParentId),
    /// A parent changed, and nobody knows how.
    ParentTouched(ParentId),
    /// Something happened to an entry of a parent. `is_new`: there cannot have been another one in its place.
    InParent { parent: ParentId, name: Vec<u8>, is_new: bool },
}

impl Upkeep {
    /// Deals with what the last read told beside events of mailboxes.
    pub(super) fn run_errands(
        &mut self,
        errands: Vec<Errand>,
        watching: &mut Watching,
        pipeline: &mut Pipeline,
        now: Instant,
    ) {
        let mut changed_folders = HashSet::new();
        for errand in errands {
            match errand {
                Errand::Lost(id, part) => {
                    watching.lost(id, part);
                    self.arm_anew([id]);
                }
                Errand::Touched { part: (id, part), arrived, seen } => {
                    let Some(maildir) = pipeline.map.maildir(id) else { continue };
                    let kind = match (part, arrived) {
                        (Part::New, Some(true)) => Kind::NewMail,
                        (Part::New, None) => {
                            kind_of_change(part, &maildir.to_path_buf().join(part.dir_name()))
                        }
                        _ => Kind::Change,
                    };
                    pipeline.changed((id, part), kind, seen, now);
                }
                Errand::ParentTouched(id) => {
                    if let Some((path, waited, holds_users, has_map_file)) = watching.all_in_parent(id) {
                        self.arm_anew(waited);
                        if holds_users {
                            changed_folders.insert((path.clone(), false));
                            self.new_folders.push(path);
                        }
                        if has_map_file {
                            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                        }
                    }
                }
                Errand::ParentLost(id) => {
                    if let Some((path, waited, has_more)) = watching.parent_lost(id) {
                        self.arm_anew(waited);
                        changed_folders.insert((path, false));
                        if has_more {
                            self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                        }
                    }
                }
                Errand::InParent { parent, name, is_new } => {
                    let Some(about) = watching.in_parent(parent, &name) else { continue };
                    self.arm_anew(about.waited);
                    if about.is_map_file {
                        self.read_sources(now + MAP_FILE_QUIET, Why::Changed);
                    }
                    if about.is_folder_of_user {
                        changed_folders.insert((about.path.clone(), is_new));
                        self.new_folders.push(about.path);
                    }
                }
            }
        }
        if !changed_folders.is_empty() {
            let below = comparison::mailboxes_below(changed_folders, &self.sources, &pipeline.map);
            pipeline.planner.compare(below.into_iter(), planner::Why::Sweep);
        }
        self.read_new_folders();
    }
}
