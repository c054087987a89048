//! The program of `[exec]`: is it there, and may it be run?

use std::io::Write;

use serde::Serialize;

use super::Report;
use crate::{
    config::Config,
    sink::exec::program::{self, Unusable},
};

#[derive(Serialize)]
pub(super) struct ExecReport {
    program: String,
    /// Where it was found; nothing if it cannot be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    concurrency: usize,
    timeout: String,
}

impl Report {
    pub(super) fn exec(&mut self, config: &Config) {
        let Some(exec) = &config.exec else { return };
        let program = &exec.command.program;
        let found = program::find(program);
        self.exec = Some(ExecReport {
            program: program.display().to_string(),
            path: found.as_ref().ok().map(|path| path.display().to_string()),
            concurrency: exec.concurrency,
            timeout: humantime::format_duration(exec.timeout).to_string(),
        });
        if let Err(Unusable { message, hint }) = found {
            self.problem(message, hint);
        }
    }

    pub(super) fn write_exec(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Some(ExecReport { program, path, concurrency, timeout }) = &self.exec else { return Ok(()) };
        let path = path.as_ref().unwrap_or(program);
        writeln!(out, "sink           exec: {path}, {concurrency} at once, {timeout} each")
    }
}
