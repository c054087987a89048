//! `[control]`: can the status page be had?

use super::Report;
use crate::{config::Config, control};

impl Report {
    pub(super) fn control(&mut self, config: &Config) {
        if let Err(error) = control::probe_http(&config.control, self.running) {
            let hint = error.hint();
            self.problem(error.to_string(), hint);
        }
    }
}
