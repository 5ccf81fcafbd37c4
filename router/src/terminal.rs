//! What the process says to a person at a terminal: lines end between words.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// A narrower terminal is no place to break lines for.
const COLUMNS_MIN: u16 = 40;

/// Says this on standard error. A line that cannot be written is dropped.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", fitting(text));
}

/// The text with lines that fit the terminal that standard error is, if it is one.
pub(crate) fn fitting(text: &str) -> Cow<'_, str> {
    let to = io::stderr();
    let size = to.is_terminal().then(|| rustix::termios::tcgetwinsize(&to)).and_then(Result::ok);
    let columns = size.map(|size| size.ws_col).filter(|&columns| columns >= COLUMNS_MIN);
    match columns {
        Some(columns) => wrapped(text, usize::from(columns)).into(),
        None => text.into(),
    }
}

/// The text with lines broken between words where they are longer than `width`. Longer words, such
/// as paths, stay whole, so that they can be copied.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = Vec::new();
    for mut rest in text.split('\n') {
        while let Some((end, _)) = rest.char_indices().nth(width) {
            let before = if rest[end..].starts_with(' ') { Some(end) } else { rest[..end].rfind(' ') };
            let before = before.filter(|&at| !rest[..at].trim().is_empty());
            let Some(at) = before.or_else(|| rest[end..].find(' ').map(|at| end + at)) else { break };
            lines.push(&rest[..at]);
            rest = rest[at..].trim_start();
        }
        lines.push(rest);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_long_words_stay_whole() {
        assert_eq!(wrapped("a warning: three words", 10), "a warning:\nthree\nwords");
        assert_eq!(wrapped("see\n  /a/long/path/of/files and", 10), "see\n  /a/long/path/of/files\nand");
        assert_eq!(wrapped("exactly 10", 10), "exactly 10");
        assert_eq!(wrapped("zwölf mal ümläut", 9), "zwölf mal\nümläut");
        assert_eq!(wrapped("", 10), "");
    }
}
