//! Source files that are too long to hold in one's head.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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

/// All Rust files below a folder of the root that are too long, build folders left out.
pub(crate) fn find(root: &Path, place: &Path) -> Result<Vec<Long>> {
    let mut found = Vec::new();
    let mut folders = vec![place.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_symlink() || name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let lines = text.lines().count();
                if lines > LINES_MAX {
                    found.push(Long { path: path.strip_prefix(root)?.to_owned(), lines });
                }
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
