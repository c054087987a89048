//! One manual page for each command, and completions for three shells.

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};
use pushmaild::{cli::Cli, config::DEFAULT_PATH};

/// The day in the pages: of the last release, or of the work on the next one. Not the day of the build, which would be another page each day.
const REVISED: &str = "2026-11-22";

/// Writes `man/*.1` and `completions/` into `folder`.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;

    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives subcommands their full names, `pushmaild-devices-list`.
    program.build();
    write_pages(&program, &man)?;

    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "pushmaild", &completions)?;
    }
    Ok(())
}

fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for inner in command.get_subcommands() {
        write_pages(inner, folder)?;
    }
    let name = full_name(command);
    fs::write(folder.join(format!("{name}.1")), page(command)?)
}

/// `pushmaild-devices-list` of `pushmaild devices list`.
fn full_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let name = full_name(command);
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(REVISED)
        .source(concat!("pushmaild ", env!("CARGO_PKG_VERSION")))
        .manual("pushmaild");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    synopsis(command).to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    notes(&mut roff, command);
    exit_status(&mut roff);
    files(&mut roff);
    see_also(&mut roff, command);
    roff.to_writer(&mut text)?;
    Ok(text)
}

/// The line of `--help`, and not clap_mangen's, which leaves out what options take.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let line = usage.trim().trim_start_matches("Usage: ");
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]).text([roman(line)]);
    roff
}

fn notes(roff: &mut Roff, command: &Command) {
    let Some(notes) = command.get_after_help() else { return };
    roff.control("SH", ["NOTES"]);
    for (at, line) in notes.to_string().lines().enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(line)]);
    }
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in [
        ("0", "All is well."),
        ("1", "It failed, or the configuration is valid and cannot work here."),
        ("2", "An argument is wrong."),
        ("78", "The configuration file is invalid."),
    ] {
        item(roff, status, meaning);
    }
}

fn files(roff: &mut Roff) {
    roff.control("SH", ["FILES"]);
    item(roff, DEFAULT_PATH, "The configuration, unless --config names another.");
}

fn item(roff: &mut Roff, what: &str, meaning: &str) {
    roff.control("TP", []).text([bold(what)]).text([roman(meaning)]);
}

/// The pages of the program, of the commands in this one, and of the configuration.
fn see_also(roff: &mut Roff, command: &Command) {
    let inner = command.get_subcommands().map(full_name);
    let others = ["pushmaild"].into_iter().chain(inner).filter(|name| *name != full_name(command));
    let mut pages: Vec<Inline> = Vec::new();
    for name in others {
        pages.extend([bold(name), roman("(1), ")]);
    }
    pages.extend([bold("pushmaild.toml"), roman("(5)")]);
    roff.control("SH", ["SEE ALSO"]).text(pages);
}
