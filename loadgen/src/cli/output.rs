//! Where results go: files, standard output, collections of runs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use millrace_loadgen::record::{Record, record};
use millrace_loadgen::tell::tell;

/// Writes a file.
pub(super) fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes to standard output, with colours only where it is a terminal that wants them.
pub(super) fn write_stdout(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    anstream::stdout().write_all(text.as_bytes())
}

/// Where the results of a run go, as its command line says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// A file for JSON; `-` is standard output, which the summary then leaves alone.
    pub(super) json: Option<&'a PathBuf>,
    /// A file for the page with plots.
    pub(super) html: Option<&'a PathBuf>,
    /// A collection of runs.
    pub(super) folder: Option<&'a PathBuf>,
}

/// Writes what a run left behind to where it is wanted.
///
/// # Errors
/// What the system said, and the file or folder.
pub(super) fn write(run: &Record<'_>, places: Places<'_>) -> anyhow::Result<()> {
    let json_on_stdout = places.json.is_some_and(|path| path.as_os_str() == "-");
    if let Some(path) = places.json
        && !json_on_stdout
    {
        write_file(path, run.json)?;
    }
    if let (Some(path), Some(html)) = (places.html, run.html) {
        write_file(path, html)?;
    }
    if let Some(folder) = places.folder {
        let place = record(folder, run).with_context(|| format!("cannot record in {}", folder.display()))?;
        tell(format_args!("recorded in {}", place.display()));
    }
    // Last, because its reader may be gone, and the files are wanted all the same.
    Ok(write_stdout(if json_on_stdout { run.json } else { run.summary })?)
}
