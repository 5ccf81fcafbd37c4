//! Lines of summaries: a name and its value, in 80 columns.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

/// Columns of a terminal that nobody made wider.
pub(crate) const COLUMNS: usize = 80;
/// Columns of a line's name.
const NAME: usize = 10;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const SOFT: Style = Style::new().dimmed();

/// A name and its value, which goes on below itself where it is too long.
pub(crate) fn put_line(text: &mut String, name: &str, value: &str) {
    let mut name = name;
    for line in wrapped(value, COLUMNS - NAME - 2) {
        let _ = writeln!(text, "{SOFT}{name:>NAME$}{SOFT:#}  {line}");
        name = "";
    }
}

/// Lines of at most `columns`, broken at blanks; a word that is longer stays whole.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the beginning");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > columns {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{put_line, wrapped};

    #[test]
    fn long_values_go_on_below_themselves_within_eighty_columns() {
        let mut text = String::new();
        put_line(&mut text, "dropped", &"overflow 1,234,567, ".repeat(9));
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(plain.lines().count() > 1);
        assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
    }

    #[test]
    fn a_word_that_is_too_long_stays_whole() {
        assert_eq!(wrapped("a bbbbbb c", 4), ["a", "bbbbbb", "c"]);
    }
}
