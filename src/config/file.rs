//! The configuration file as it is written: a mirror for serde, with the place of each value that is checked later.
//!
//! What is written above the tables and their keys is for administrators: docs/configuration.md is made of it (`tests/it/documents`), in
//! the order in which the tables stand here. A table has an example in a `toml` block. A key ends with a line `Default: …`: a value of
//! TOML in backticks, which a test holds against the code, or words. `Takes effect: …` follows where a reload (SIGHUP) is not enough.

use serde::Deserialize;

use super::{
    apns::ApnsTable, control::ControlTable, debounce::DebounceTable, exec::ExecTable, listen::ListenTable,
    mailboxes::MailboxesTable, push_notify::PushNotifyTable, registry::RegistryTable, watch::WatchTable,
};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct File {
    pub(super) mailboxes: MailboxesTable,
    pub(super) watch: WatchTable,
    pub(super) debounce: DebounceTable,
    pub(super) push_notify: Option<PushNotifyTable>,
    pub(super) apns: Option<ApnsTable>,
    pub(super) exec: Option<ExecTable>,
    pub(super) registry: Option<RegistryTable>,
    pub(super) listen: Option<ListenTable>,
    pub(super) control: ControlTable,
}
