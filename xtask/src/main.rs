//! Checks of this repository itself, for people and for CI: `cargo xtask circles`, `sizes`,
//! `faces`, `links`, `prose`.
//!
//! | module | what it does |
//! |---|---|
//! | [`source`] | reads a crate: its modules, what each declares, imports and names |
//! | [`edges`] | resolves names to the files that declare them: which file uses which |
//! | [`circles`](mod@circles) | finds files that use each other |
//! | [`faces`](mod@faces) | finds faces of folders that hold more than a table of contents |
//! | [`files`] | lists the Rust files of the repository |
//! | [`links`](mod@links) | finds links of pages that lead nowhere |
//! | [`mutants`] | runs the simulator with bugs on purpose |
//! | [`lengths`] | finds files that are too long |
//! | [`prose`](mod@prose) | finds lines of comments and pages that are too long, and fills paragraphs |
//! | [`sizes`](mod@sizes) | finds functions that are too long, structs with too many fields |
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod circles;
mod edges;
mod faces;
mod files;
mod lengths;
mod links;
mod mutants;
mod prose;
mod sizes;
mod source;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Crates whose files may not form circles.
const CRATES: [&str; 17] = [
    "sansio", "certs", "attach", "proto", "engine", "quic", "mailbox", "router", "client", "cli", "gateway",
    "verify", "measure", "compare", "loadgen", "sim", "xtask",
];

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Checks of this repository itself")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fails when files of a crate use each other in a circle, or a source file is too long.
    ///
    /// A file uses another when it names, by a path or an import, something that the other
    /// declares. Re-exports are followed to the declaration. The tables of contents (`mod.rs`,
    /// `lib.rs`, `main.rs`) do not use what they re-export. Not seen: calls of methods that
    /// another file adds to a type, and what macros expand to. Code under `#[cfg(test)]` is
    /// left out.
    Circles {
        /// Folders of crates, e.g. `engine`. Without any: those whose files may form no circle.
        crates: Vec<PathBuf>,
        /// Prints every use, too.
        #[arg(long)]
        edges: bool,
    },
    /// Fails when a source file, a function, or a struct of a core is larger than it may be.
    ///
    /// A function has at most 80 lines, from its signature to its closing brace; a struct in
    /// `engine/src/core` at most 16 fields; a file at most 500 lines. Not seen: what macros expand
    /// to. Code that only tests are built with may have long functions.
    Sizes {
        /// Folders of crates, e.g. `engine`. Without any: the whole tree.
        crates: Vec<PathBuf>,
    },
    /// Fails when the face of a folder (`mod.rs`, `lib.rs`) is more than a table of contents.
    ///
    /// A face holds docs, declarations of modules and re-exports. Types, functions and constants
    /// have files of their own, so that a folder's listing names them. Tests are left out.
    Faces,
    /// Fails when the simulator does not notice a mutant: a patch of `sim/mutants` that breaks one
    /// thing.
    ///
    /// Each is applied to a copy of the tree in `target/mutants`, built there, and run until a
    /// checker that it names has a finding. A patch that does not apply is an error.
    Mutants {
        /// Parts of names. Without any: all.
        names: Vec<String>,
        /// Seeds that are tried with each.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
    },
    /// Fails when a link of a page (`*.md`) leads to no file or heading of this repository.
    ///
    /// Links with a scheme are left out, because nothing is fetched.
    Links,
    /// Fails when a line of a comment or of a page (`*.md`) is longer than 100 columns.
    ///
    /// Tables, headings, code and lines that cannot be broken are left out.
    Prose {
        /// Folders, e.g. `engine`. Without any: the whole tree.
        folders: Vec<PathBuf>,
        /// Fills their paragraphs anew.
        #[arg(long)]
        mend: bool,
    },
}

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace above xtask")?;
    let found = match Options::parse().command {
        Command::Circles { crates, edges } => circles(root, crates, edges)?,
        Command::Sizes { crates } => sizes(root, &crates)?,
        Command::Faces => faces(root)?,
        Command::Mutants { names, seeds } => mutants::run(root, &names, seeds)?,
        Command::Links => links(root)?,
        Command::Prose { folders, mend } => prose(root, &folders, mend)?,
    };
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints circles and long files of these crates; of all, where none is named. Returns how many
/// there are.
fn circles(root: &Path, crates: Vec<PathBuf>, edges: bool) -> Result<usize> {
    let places = places(root, &crates);
    let crates = if crates.is_empty() {
        CRATES.iter().map(PathBuf::from).filter(|folder| root.join(folder).is_dir()).collect()
    } else {
        crates
    };
    let mut out = std::io::stdout().lock();
    let mut found = 0;
    for folder in crates {
        let krate = source::Crate::read(root, &folder)?;
        let uses = edges::Uses::of(&krate);
        if edges {
            write!(out, "{uses}")?;
        }
        let circles = circles::find(&uses);
        found += circles.len();
        for circle in &circles {
            writeln!(out, "{} files of {} use each other:", circle.files.len(), folder.display())?;
            for edge in &circle.edges {
                writeln!(out, "  {edge}")?;
            }
        }
    }
    for place in places {
        for long in lengths::find(root, &place)? {
            found += 1;
            writeln!(out, "{long}")?;
        }
    }
    if found == 0 {
        writeln!(out, "no circle of files, no file of more than {} lines", lengths::LINES_MAX)?;
    }
    Ok(found)
}

/// Prints what is too large in these crates; in all, where none is named. Returns how much there
/// is.
fn sizes(root: &Path, crates: &[PathBuf]) -> Result<usize> {
    let mut out = std::io::stdout().lock();
    let mut found = 0;
    for place in places(root, crates) {
        for large in sizes::find(root, &place)? {
            found += 1;
            writeln!(out, "{large}")?;
        }
        for long in lengths::find(root, &place)? {
            found += 1;
            writeln!(out, "{long}")?;
        }
    }
    if found == 0 {
        let (function, fields) = (sizes::FUNCTION_LINES_MAX, sizes::FIELDS_MAX);
        writeln!(
            out,
            "no function of more than {function} lines, no struct of a core with more than {fields} fields"
        )?;
    }
    Ok(found)
}

/// Prints what is misplaced in the faces of folders. Returns how much there is.
fn faces(root: &Path) -> Result<usize> {
    let mut out = std::io::stdout().lock();
    let found = faces::find(root, root)?;
    for misplaced in &found {
        writeln!(out, "{misplaced}")?;
    }
    if found.is_empty() {
        writeln!(out, "every mod.rs and lib.rs is a table of contents")?;
    }
    Ok(found.len())
}

/// Prints links of pages that lead nowhere. Returns how many there are.
fn links(root: &Path) -> Result<usize> {
    let mut out = std::io::stdout().lock();
    let (broken, count) = links::find(root)?;
    for link in &broken {
        writeln!(out, "{link}")?;
    }
    if broken.is_empty() {
        writeln!(out, "{count} links of pages, all lead somewhere")?;
    }
    Ok(broken.len())
}

/// Prints lines of prose that are too long in these folders; in all, where none is named. Returns
/// how many there are, and none where they are mended.
fn prose(root: &Path, folders: &[PathBuf], mend: bool) -> Result<usize> {
    let mut out = std::io::stdout().lock();
    let mut found = 0;
    for place in places(root, folders) {
        for long in prose::find(root, &place, mend)? {
            found += 1;
            writeln!(out, "{long}")?;
        }
    }
    if mend {
        writeln!(out, "{found} lines filled anew")?;
        return Ok(0);
    }
    if found == 0 {
        writeln!(out, "no line of prose of more than {} columns", prose::COLUMNS_MAX)?;
    }
    Ok(found)
}

/// Where to look: the folders of these crates; the whole tree where no crate is named.
fn places(root: &Path, crates: &[PathBuf]) -> Vec<PathBuf> {
    if crates.is_empty() {
        vec![root.to_owned()]
    } else {
        crates.iter().map(|folder| root.join(folder)).collect()
    }
}
