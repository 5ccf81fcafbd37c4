//! Source files that are too long to hold in one's head.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files;

/// Most lines of a source file.
pub(crate) const LINES_MAX: usize = 500;

/// A file of more than [`LINES_MAX`] lines.
#[derive(Debug)]
pub(crate) struct Long {
    path: PathBuf,
    lines: usize,
}

impl fmt::Display for Long {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} lines, at most {LINES_MAX}", self.path.display(), self.lines)
    }
}

/// All Rust files below a folder of the root that are too long.
pub(crate) fn find(root: &Path, place: &Path) -> Result<Vec<Long>> {
    let mut found = Vec::new();
    for path in files::below(place, ".rs")? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(Long { path: path.strip_prefix(root)?.to_owned(), lines });
        }
    }
    Ok(found)
}
