//! `millrace completions` and `millrace man`: what shells and `man` know of the command.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap_complete::Shell;

use crate::failure::Failure;

/// Print completions for a shell.
///
/// Bash reads them from /usr/share/bash-completion/completions/millrace, zsh from _millrace in a
/// folder of $fpath, fish from ~/.config/fish/completions/millrace.fish.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// For which shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Write manual pages into a folder.
///
/// One for `millrace` and one for each of its commands, for section 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// The folder; it is made if need be.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints completions of this command line.
pub(crate) fn completions(command: &Completions, mut line: clap::Command) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(command.shell, &mut line, "millrace", &mut text);
    match io::stdout().lock().write_all(&text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(error.into())),
        _ => Ok(()),
    }
}

/// Writes manual pages of this command line.
pub(crate) fn man(command: &Man, line: clap::Command) -> Result<(), Failure> {
    let write = || {
        fs::create_dir_all(&command.folder)?;
        clap_mangen::generate_to(line, &command.folder)
    };
    write()
        .with_context(|| format!("cannot write manual pages to {}", command.folder.display()))
        .map_err(Failure::other)
}
