//! What the command says on standard error.
//!
//! A line that cannot be written (the reader is gone, the disk is full) is dropped: it never ends
//! the work that it is about. What comes from elsewhere (a router's reasons, file names) may hold
//! anything; nothing in it reaches a terminal raw.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

use unicode_width::UnicodeWidthStr;

/// A narrower terminal is no place to break lines for.
const COLUMNS_MIN: usize = 40;

/// Says one line, which begins with the program's name.
pub(crate) fn tell(text: impl Display) {
    line(format_args!("millrace: {text}"));
}

/// Says one line as it is.
pub(crate) fn line(text: impl Display) {
    let text = text.to_string();
    let text = safe(&text);
    let text = match columns(&std::io::stderr()) {
        Some(width) => wrapped(&text, width),
        None => text.into_owned(),
    };
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Columns of the terminal that this goes to; none where it goes elsewhere.
pub(crate) fn columns(to: &impl IsTerminal) -> Option<usize> {
    let size = to.is_terminal().then(ratatui::crossterm::terminal::size)?.ok()?;
    Some(usize::from(size.0)).filter(|&width| width >= COLUMNS_MIN)
}

/// The text with lines broken between words where they are longer than `width`. Words that are
/// longer themselves, such as paths, stay whole, so that they can be copied.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut rest = line;
        while rest.width() > width {
            let mut fits = rest.char_indices().filter(|&(at, character)| {
                character == ' ' && rest[..at].width() <= width && !rest[..at].trim().is_empty()
            });
            let Some((at, _)) = fits.next_back().or_else(|| {
                let behind = rest.len() - rest.trim_start().len();
                rest[behind..].find(' ').map(|at| (behind + at, ' '))
            }) else {
                break;
            };
            lines.push(&rest[..at]);
            rest = rest[at..].trim_start();
        }
        lines.push(rest);
    }
    lines.join("\n")
}

/// Whether a terminal does something with a character besides showing it: control characters, and
/// those that turn the direction of text or break lines (U+2028, U+2029).
pub(crate) fn is_hazardous(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// The text with hazardous characters as `\u{…}`; line breaks stay, because hints have several
/// lines.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    let hazardous = |character: char| is_hazardous(character) && character != '\n';
    if !text.contains(hazardous) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if hazardous(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let text = "one two three\n  ^\nhttps://a-long-address-that-stays-whole.example and more";
        assert_eq!(
            wrapped(text, 9),
            "one two\nthree\n  ^\nhttps://a-long-address-that-stays-whole.example\nand more"
        );
        assert_eq!(wrapped("grüße zuerst", 8), "grüße\nzuerst");
        assert_eq!(wrapped("", 80), "");
    }

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(safe("plain, grüße\n  ^"), "plain, grüße\n  ^");
        assert_eq!(safe("a\u{1b}[31mb\u{202e}c"), "a\\u{1b}[31mb\\u{202e}c");
        assert_eq!(safe("\u{9b}2J\r"), "\\u{9b}2J\\u{d}");
    }
}
