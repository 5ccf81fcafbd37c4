//! Tables for people: aligned columns that fit into 80, of which one gives way.
//!
//! Only the first column that is [`Column::elastic`] is cut, with `…` in place of what is missing;
//! all others have numbers and short words.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a screen that every terminal has.
pub(crate) const WIDTH: usize = 80;
/// Between two columns.
const GAP: usize = 2;
/// What is left of the elastic column, at least.
const ELASTIC_MIN: usize = 8;

/// What a column is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    is_right: bool,
    is_elastic: bool,
}

impl Column {
    /// Of words.
    pub(crate) const fn left(title: &'static str) -> Self {
        Self { title, is_right: false, is_elastic: false }
    }

    /// Of numbers.
    pub(crate) const fn right(title: &'static str) -> Self {
        Self { title, is_right: true, is_elastic: false }
    }

    /// Of words that are cut when there is no room.
    pub(crate) const fn elastic(title: &'static str) -> Self {
        Self { title, is_right: false, is_elastic: true }
    }
}

/// Writes a table below its titles.
pub(crate) fn write(out: &mut String, columns: &[Column], rows: &[Vec<String>]) {
    let widths = widths(columns, rows);
    let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, column), &width) in row.iter().zip(columns).zip(&widths) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let cell = cut(cell, width);
            let pad = width - cell.width();
            // A string takes everything.
            let _ = match column.is_right {
                true => write!(line, "{:pad$}{cell}", ""),
                false => write!(line, "{cell}{:pad$}", ""),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn widths(columns: &[Column], rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|column| column.title.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let all = widths.iter().sum::<usize>() + GAP * columns.len().saturating_sub(1);
    if let Some(elastic) = columns.iter().position(|column| column.is_elastic) {
        let too_wide = all.saturating_sub(WIDTH);
        widths[elastic] = widths[elastic].saturating_sub(too_wide).max(ELASTIC_MIN.min(widths[elastic]));
    }
    widths
}

/// So many of something: `1 client`, `5000 clients`.
pub(crate) fn counted(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// The text, at most so many columns wide.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        shown.push(character);
    }
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_is_cut_so_that_lines_fit() {
        let columns = [Column::elastic("NAME"), Column::right("COUNT")];
        let rows = [vec!["x".repeat(200), "7".to_owned()], vec!["grüße".to_owned(), "1234".to_owned()]];
        let mut out = String::new();
        write(&mut out, &columns, &rows);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0].width(), WIDTH);
        assert!(lines[1].contains("x…  ") && lines[1].ends_with("    7"), "{out}");
        assert!(lines.iter().all(|line| line.width() == WIDTH), "{out}");
    }

    #[test]
    fn one_is_no_plural() {
        let texts = [0, 1, 5000].map(|count| counted(count, "client"));
        assert_eq!(texts, ["0 clients", "1 client", "5000 clients"]);
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(cut("世界世界", 5), "世界…");
        assert_eq!(cut("世界", 4), "世界");
        assert_eq!(cut("abc", 0), "…");
    }
}
