//! What the thread that runs programs tells the others, beside the queue.

use std::sync::Arc;

use crate::sink::{tally::Tally, trouble::Trouble};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What became of pushes, of all sinks.
    pub(super) tally: Arc<Tally>,
    /// Why no program can be started, and how the last run ended that did not end well.
    pub(super) trouble: Trouble,
}
