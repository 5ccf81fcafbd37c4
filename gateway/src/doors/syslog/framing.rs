//! Frames of a stream (RFC 6587): what a frame begins with says how it ends.
//!
//! ```text
//! 26 <34>1 - - app - - - hello⏎     a digit: as many bytes as the number says
//! <34>Oct 11 22:14:15 host app: x⏎  `<`: to the next LF, or to the NUL that some programs send
//! ```
//!
//! Both may follow each other in one stream. A message has at most [`MESSAGE_BYTES_MAX`] bytes: a
//! longer one that ends with LF is cut, a longer counted one is skipped by its count. Where neither
//! a count nor `<` stands, nobody can tell where the next message begins: the stream is over.

/// Bytes of a message.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Digits of a count: a gigabyte is skipped, more is no count.
const COUNT_DIGITS_MAX: usize = 9;

/// One message of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message.
    Message(&'a [u8]),
    /// The beginning of a message that is too long.
    Cut(&'a [u8]),
    /// A counted message that is too long was skipped.
    Skipped,
}

/// Nobody can tell where the next message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A number that is no count: too long, beginning with 0, or without a space behind it.
    #[error("a count is 1 to {COUNT_DIGITS_MAX} digits, the first not 0, and a space")]
    Count,
    /// Neither a count nor `<`.
    #[error("a frame begins with a digit or `<`, not with byte {0:#04x}")]
    Beginning(u8),
}

/// What the stream is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// To the next LF or NUL.
    Line,
    /// The rest of a line that was cut.
    RestOfLine,
    /// So many bytes.
    Counted(usize),
    /// So many bytes of a message that is too long.
    Skipping(usize),
}

/// Reads frames. Holds one message at most.
#[derive(Debug)]
pub struct Framer {
    state: State,
    held: Vec<u8>,
}

impl Default for Framer {
    fn default() -> Self {
        Self { state: State::Between, held: Vec::new() }
    }
}

impl Framer {
    /// Reads what arrived, and hands each frame that ends in it to `take`.
    ///
    /// # Errors
    /// [`FramingError`]; what came before was handed over.
    pub fn read(&mut self, mut bytes: &[u8], mut take: impl FnMut(Frame<'_>)) -> Result<(), FramingError> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Between => self.begin(bytes)?,
                State::Line => self.line(bytes, &mut take),
                State::RestOfLine => match end_of_line(bytes) {
                    Some(end) => {
                        self.state = State::Between;
                        &bytes[end + 1..]
                    }
                    None => &[],
                },
                State::Counted(count) => self.counted(bytes, count, &mut take),
                State::Skipping(left) => {
                    let skipped = left.min(bytes.len());
                    self.state = State::Skipping(left - skipped);
                    if skipped == left {
                        self.state = State::Between;
                        take(Frame::Skipped);
                    }
                    &bytes[skipped..]
                }
            };
        }
        Ok(())
    }

    /// The stream has ended: a line without its LF is a message, too.
    pub fn end(&mut self, mut take: impl FnMut(Frame<'_>)) {
        if self.state == State::Line {
            take(Frame::Message(&self.held));
        }
        *self = Self::default();
    }

    /// Reads the beginning of a frame, byte by byte, because it may arrive so.
    fn begin<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], FramingError> {
        let first = bytes[0];
        match (first, self.held.is_empty()) {
            // Empty lines, and what some programs put behind a counted message.
            (b'\n' | b'\r' | 0, true) => {}
            (b'<', true) => {
                self.state = State::Line;
                return Ok(bytes);
            }
            (b'1'..=b'9', true) => self.held.push(first),
            (b'0'..=b'9', false) if self.held.len() < COUNT_DIGITS_MAX => self.held.push(first),
            (b' ', false) => {
                let digits = std::str::from_utf8(&self.held).unwrap_or_default();
                let count = digits.parse().map_err(|_| FramingError::Count)?;
                self.held.clear();
                self.state =
                    if count > MESSAGE_BYTES_MAX { State::Skipping(count) } else { State::Counted(count) };
            }
            (b'0', true) | (_, false) => return Err(FramingError::Count),
            (other, true) => return Err(FramingError::Beginning(other)),
        }
        Ok(&bytes[1..])
    }

    fn line<'b>(&mut self, bytes: &'b [u8], take: &mut impl FnMut(Frame<'_>)) -> &'b [u8] {
        let room = MESSAGE_BYTES_MAX - self.held.len();
        let end = end_of_line(bytes);
        let length = end.unwrap_or(bytes.len());
        if length > room {
            self.hand(&bytes[..room], true, take);
            self.state = State::RestOfLine;
            return &bytes[room..];
        }
        let Some(end) = end else {
            self.held.extend_from_slice(bytes);
            return &[];
        };
        self.hand(&bytes[..end], false, take);
        self.state = State::Between;
        &bytes[end + 1..]
    }

    fn counted<'b>(&mut self, bytes: &'b [u8], count: usize, take: &mut impl FnMut(Frame<'_>)) -> &'b [u8] {
        let missing = count - self.held.len();
        if bytes.len() < missing {
            self.held.extend_from_slice(bytes);
            return &[];
        }
        self.hand(&bytes[..missing], false, take);
        self.state = State::Between;
        &bytes[missing..]
    }

    /// Hands over what is held and what is behind it; copies only if both are something.
    fn hand(&mut self, last: &[u8], is_cut: bool, take: &mut impl FnMut(Frame<'_>)) {
        let mut hand =
            |message: &[u8]| take(if is_cut { Frame::Cut(message) } else { Frame::Message(message) });
        if self.held.is_empty() {
            hand(last);
            return;
        }
        self.held.extend_from_slice(last);
        hand(&self.held);
        self.held = Vec::new();
    }
}

fn end_of_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n' || byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames as text; cut ones end with `…`, skipped ones are `skipped`.
    fn frames(pieces: &[&[u8]]) -> (Vec<String>, Result<(), FramingError>) {
        let (mut framer, mut found) = (Framer::default(), Vec::new());
        let mut take = |frame: Frame<'_>| {
            found.push(match frame {
                Frame::Message(message) => String::from_utf8_lossy(message).into_owned(),
                Frame::Cut(message) => format!("{}…", message.len()),
                Frame::Skipped => "skipped".to_owned(),
            });
        };
        let read = pieces.iter().try_for_each(|piece| framer.read(piece, &mut take));
        framer.end(&mut take);
        (found, read)
    }

    const MIXED: &[u8] = b"5 <1>ab<2>line\n<3>nul\x006 <4>\nx\n\n7 <5>last<6>no end";

    #[test]
    fn counted_and_line_frames_may_alternate() {
        let (found, read) = frames(&[MIXED]);
        assert_eq!(read, Ok(()));
        assert_eq!(found, ["<1>ab", "<2>line", "<3>nul", "<4>\nx\n", "<5>last", "<6>no end"]);
    }

    #[test]
    fn frames_are_the_same_however_they_arrive() {
        let whole = frames(&[MIXED]).0;
        for at in 0..MIXED.len() {
            let (first, second) = MIXED.split_at(at);
            assert_eq!(frames(&[first, second]).0, whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = MIXED.chunks(1).collect();
        assert_eq!(frames(&bytes).0, whole);
    }

    #[test]
    fn long_lines_are_cut_and_long_counted_messages_skipped_by_their_count() {
        let line = [b"<1>", &vec![b'x'; MESSAGE_BYTES_MAX][..], b"\n<2>next\n"].concat();
        assert_eq!(frames(&[&line]).0, [format!("{MESSAGE_BYTES_MAX}…"), "<2>next".to_owned()]);
        let counted = [b"70000 <1>", &vec![b'x'; 69_997][..], b"5 <2>ab"].concat();
        for size in [1000, 70_000, counted.len()] {
            let pieces: Vec<&[u8]> = counted.chunks(size).collect();
            assert_eq!(frames(&pieces).0, ["skipped", "<2>ab"]);
        }
        let exact = [b"<1>", &vec![b'x'; MESSAGE_BYTES_MAX - 3][..], b"\n"].concat();
        assert_eq!(frames(&[&exact]).0[0].len(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_malformed_count_ends_the_stream() {
        for wrong in [&b"12x <1>"[..], b"0 <1>", b"1234567890 <1>", b"5<1>ab"] {
            assert_eq!(frames(&[b"<1>ok\n", wrong]), (vec!["<1>ok".to_owned()], Err(FramingError::Count)));
        }
        assert_eq!(frames(&[b"hello\n"]).1, Err(FramingError::Beginning(b'h')));
        // One byte less than the message has: the rest of it is no beginning.
        assert_eq!(frames(&[b"4 <1>ab5 <2>cd"]).1, Err(FramingError::Beginning(b'b')));
    }
}
