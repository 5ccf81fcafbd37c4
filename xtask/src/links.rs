//! Links between the pages of this repository that lead nowhere.
//!
//! A link is `[words](target)` outside of code. Targets with a scheme are left out, because nothing
//! may be fetched; of the others the file must exist, and the heading that an anchor names.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files;

/// A link that leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    path: PathBuf,
    line: usize,
    target: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: `{}` leads nowhere", self.path.display(), self.line, self.target)
    }
}

/// All links below the root that lead nowhere, and how many links there are.
pub(crate) fn find(root: &Path) -> Result<(Vec<Broken>, usize)> {
    let (mut broken, mut count) = (Vec::new(), 0);
    for path in files::below(root, ".md")? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (line, target) in links(&text) {
            count += 1;
            if !leads(&path, target)? {
                let path = path.strip_prefix(root)?.to_owned();
                broken.push(Broken { path, line, target: target.to_owned() });
            }
        }
    }
    Ok((broken, count))
}

/// Targets of a page's links, each with its line, from 1.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let lines = text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.flat_map(|(index, line)| {
        // Code within a line stands between every other pair of backticks.
        let prose = line.split('`').step_by(2);
        let ends = prose.flat_map(|part| part.split("](").skip(1));
        ends.filter_map(move |rest| Some((index + 1, rest.split(')').next()?)))
    })
}

/// Whether a link on a page leads somewhere, or out of the repository.
fn leads(page: &Path, target: &str) -> Result<bool> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(true);
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match (file, page.parent()) {
        ("", _) => page.to_owned(),
        (_, Some(folder)) => folder.join(file),
        _ => return Ok(false),
    };
    if !path.exists() {
        return Ok(false);
    }
    if anchor.is_empty() || path.extension().is_none_or(|extension| extension != "md") {
        return Ok(true);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(anchors(&text).contains(anchor))
}

/// The anchors of a page's headings, as forges make them: lower case, blanks as hyphens, without
/// other marks.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let words = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    words.map(|words| words.chars().filter_map(kept).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_headings_that_are_missing_are_found_and_code_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let page = "# One page\n[a](b.md) [b](b.md#two-words-of-it) [c](#one-page)\n`[d](none.md)`\n\
                    ```\n[e](none.md)\n```\n[f](none.md)\n[g](b.md#none) [h](https://x.example/y)\n";
        fs::write(folder.path().join("a.md"), page).unwrap();
        fs::write(folder.path().join("b.md"), "## Two words, of it\n").unwrap();
        let (broken, count) = find(folder.path()).unwrap();
        let broken: Vec<_> = broken.iter().map(ToString::to_string).collect();
        assert_eq!(broken, ["a.md:7: `none.md` leads nowhere", "a.md:8: `b.md#none` leads nowhere"]);
        assert_eq!(count, 6);
    }
}
