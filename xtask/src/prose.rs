//! Lines of prose that are too long: of comments, and of pages (`*.md`).
//!
//! A line ends at column [`COLUMNS_MAX`]. Tables, headings, code between fences, definitions of
//! links, golden vectors, and lines that cannot be broken are left out. To mend a line is to fill
//! its paragraph anew, from the line to the paragraph's end; no word is changed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files;

/// The last column of a line of prose.
pub(crate) const COLUMNS_MAX: usize = 100;

/// Records of what was measured, and pages that programs write: they stand as they were written.
const LEFT_OUT: [&str; 3] = ["bench-results", "docs/reference", "peers"];

/// A line that is too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Long {
    path: PathBuf,
    line: usize,
    columns: usize,
}

impl fmt::Display for Long {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, columns } = self;
        write!(f, "{}:{line}: {columns} columns of prose, at most {COLUMNS_MAX}", path.display())
    }
}

/// All long lines of prose below a folder of the root. With `mend`, they are filled anew, and those
/// are returned that were.
pub(crate) fn find(root: &Path, place: &Path, mend: bool) -> Result<Vec<Long>> {
    let mut found = Vec::new();
    for (end, is_page) in [(".rs", false), (".md", true)] {
        for path in files::below(place, end)? {
            let relative = path.strip_prefix(root)?.to_owned();
            if LEFT_OUT.iter().any(|folder| relative.starts_with(folder)) {
                continue;
            }
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (filled, long) = fill(&text, is_page);
            let long = long.into_iter().map(|(line, columns)| Long { path: relative.clone(), line, columns });
            let before = found.len();
            found.extend(long);
            if mend && found.len() > before {
                fs::write(&path, filled).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(found)
}

/// The text with its paragraphs filled anew where a line was too long, and those lines, from 1,
/// with their columns.
fn fill(text: &str, is_page: bool) -> (String, Vec<(usize, usize)>) {
    let lines: Vec<Line<'_>> = text.lines().map(|line| Line::read(line, is_page)).collect();
    let (mut out, mut long) = (Vec::with_capacity(lines.len()), Vec::new());
    let mut is_code = false;
    let mut index = 0;
    while index < lines.len() {
        let line = lines[index];
        is_code = is_code && line.is_prose;
        is_code ^= line.is_prose && line.words().starts_with("```");
        let columns = line.columns();
        if is_code || !line.is_prose || columns <= COLUMNS_MAX || line.is_fixed() {
            out.push(line.text.to_owned());
            index += 1;
            continue;
        }
        let more = lines[index + 1..].iter().take_while(|next| next.continues(line)).count();
        let paragraph = &lines[index..=index + more];
        let text = paragraph.iter().map(|line| line.words()).collect::<Vec<_>>().join(" ");
        let filled = line.fill(words_of(&text).into_iter());
        if filled.len() == paragraph.len() && filled.iter().zip(paragraph).all(|(new, old)| new == old.text) {
            // Its words are longer than a line.
            out.extend(filled.into_iter().take(1));
            index += 1;
            continue;
        }
        long.extend((index..).zip(paragraph).filter_map(|(index, line)| {
            let columns = line.columns();
            (columns > COLUMNS_MAX).then_some((index + 1, columns))
        }));
        out.extend(filled);
        index += paragraph.len();
    }
    let mut filled = out.join("\n");
    if text.ends_with('\n') {
        filled.push('\n');
    }
    (filled, long)
}

/// A line of a source file or of a page.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    /// The indent, and the slashes of a comment.
    prefix: &'a str,
    /// What stands behind that.
    rest: &'a str,
    /// It is a comment of its own, or stands on a page.
    is_prose: bool,
}

impl<'a> Line<'a> {
    fn read(text: &'a str, is_page: bool) -> Self {
        if is_page {
            return Self { text, prefix: "", rest: text, is_prose: true };
        }
        let indent = text.len() - text.trim_start().len();
        let code = &text[indent..];
        let slashes = ["///", "//!", "//"].into_iter().find(|slashes| code.starts_with(slashes));
        let end = indent + slashes.map_or(0, str::len);
        Self { text, prefix: &text[..end], rest: &text[end..], is_prose: slashes.is_some() }
    }

    fn columns(self) -> usize {
        self.text.chars().count()
    }

    /// Spaces before its first word.
    fn indent(self) -> usize {
        self.rest.len() - self.rest.trim_start().len()
    }

    /// What it says.
    fn words(self) -> &'a str {
        self.rest.trim()
    }

    /// Columns of the mark of a list's item, with the space behind it; 0 for other lines.
    fn mark(self) -> usize {
        self.words().split_once(' ').map_or(0, |(first, _)| if is_mark(first) { first.len() + 1 } else { 0 })
    }

    /// Whether it stands as it is, whatever its length.
    fn is_fixed(self) -> bool {
        let words = self.words();
        words.starts_with(['|', '#', '<', '>'])
            || (words.starts_with('[') && words.contains("]: "))
            || (words.starts_with("- `") && words.contains("`: `") && words.ends_with('`'))
    }

    /// Whether it goes on with the paragraph or item that `first` begins or stands in.
    fn continues(self, first: Self) -> bool {
        self.is_prose
            && self.prefix == first.prefix
            && !self.words().is_empty()
            && self.indent() == first.indent() + first.mark()
            && self.mark() == 0
            && !self.is_fixed()
            && !self.words().starts_with("```")
    }

    /// Lines of these words, of which the first stands where this one does.
    fn fill<'w>(self, words: impl Iterator<Item = &'w str>) -> Vec<String> {
        let first = format!("{}{}", self.prefix, " ".repeat(self.indent()));
        let further = format!("{first}{}", " ".repeat(self.mark()));
        let mut lines: Vec<Vec<&str>> = vec![Vec::new()];
        let mut columns = first.chars().count();
        for word in words.filter(|word| !word.is_empty()) {
            let width = word.chars().count();
            let last = lines.len() - 1;
            let is_empty = lines[last].is_empty();
            if is_empty || columns + 1 + width <= COLUMNS_MAX {
                columns += width + usize::from(!is_empty);
                lines[last].push(word);
                continue;
            }
            // A line that begins with a mark would be an item: the word before comes along.
            let mut next = Vec::new();
            if is_mark(word) || word.starts_with(['|', '#', '>']) {
                next.extend(lines[last].pop());
            }
            next.push(word);
            let joined: usize = next.iter().map(|word| word.chars().count() + 1).sum();
            columns = further.chars().count() + joined - 1;
            lines.push(next);
        }
        let prefix = |index| if index == 0 { &first } else { &further };
        lines
            .iter()
            .enumerate()
            .map(|(index, words)| format!("{}{}", prefix(index), words.join(" ")))
            .collect()
    }
}

/// The words of a paragraph. Code between backticks, and the text of a link with its target, are
/// one word, because readers and other checks of this repository take them as one.
fn words_of(text: &str) -> Vec<&str> {
    let (mut words, mut begin) = (Vec::new(), 0);
    let (mut is_code, mut depth) = (false, 0_usize);
    for (at, letter) in text.char_indices() {
        match letter {
            '`' => is_code = !is_code,
            '[' if !is_code => depth += 1,
            ']' if !is_code => depth = depth.saturating_sub(1),
            ' ' if !is_code && depth == 0 => {
                words.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    let rest = &text[begin..];
    // What is opened and never closed is no code and no link.
    if is_code || depth > 0 {
        words.extend(rest.split(' '));
    } else {
        words.push(rest);
    }
    words
}

/// Whether a word at the beginning of a line makes it an item of a list.
fn is_mark(word: &str) -> bool {
    let number = word.strip_suffix(['.', ')']);
    matches!(word, "-" | "*" | "+")
        || number.is_some_and(|number| {
            (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(count: usize) -> String {
        vec!["word"; count].join(" ")
    }

    #[test]
    fn a_paragraph_is_filled_from_its_first_long_line_on() {
        let text = format!(
            "    /// short\n    /// {}\n    /// end\n    fn code() {{}} // {}\n",
            words(30),
            words(30)
        );
        let (filled, long) = fill(&text, false);
        assert_eq!(long, [(2, 157)]);
        let lines: Vec<&str> = filled.lines().collect();
        assert_eq!(lines[0], "    /// short");
        assert!(lines[1..3].iter().all(|line| line.starts_with("    /// word") && line.len() <= COLUMNS_MAX));
        assert!(lines[2].ends_with("word end"), "{filled}");
        assert_eq!(lines.len(), 4, "code stays as it is");
        assert_eq!(fill(&filled, false), (filled.clone(), Vec::new()));
    }

    #[test]
    fn items_of_lists_keep_their_indent_and_no_line_becomes_one() {
        let text = format!("- {} xx - {}\n  end\n- next\n", words(19), words(3));
        let (filled, long) = fill(&text, true);
        assert_eq!(long.len(), 1);
        let lines: Vec<&str> = filled.lines().collect();
        assert_eq!(lines[1], "  xx - word word word end", "{filled}");
        assert_eq!(lines[2], "- next");
    }

    #[test]
    fn code_and_links_are_not_broken() {
        let code = format!("{} `cargo xtask prose` and [ADR 30](adr.md) `open {}", words(18), words(9));
        let (filled, _) = fill(&code, true);
        let lines: Vec<&str> = filled.lines().collect();
        assert!(lines[1].starts_with("`cargo xtask prose` and [ADR 30](adr.md) `open word"), "{filled}");
        let (filled, _) = fill(&format!("{} [ADR 30](adr.md) end", words(19)), true);
        assert!(filled.ends_with("\n[ADR 30](adr.md) end"), "{filled}");
    }

    #[test]
    fn tables_fences_headings_and_long_words_stay() {
        let wide = words(30);
        let word = "w".repeat(120);
        let golden = format!("- `control hello`: `{wide}`");
        let text = format!(
            "| {wide} |\n\n# {wide}\n\n```text\n{wide}\n```\n\n{word}\n[x]: {wide}\n{golden}\n{golden}\n"
        );
        assert_eq!(fill(&text, true), (text.clone(), Vec::new()));
    }
}
