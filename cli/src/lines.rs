//! Lines of standard input as payloads: any bytes, bounded, without their line break (LF or CR LF).

use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line; its bytes are in the buffer.
    Whole,
    /// A line that no event can carry; it was skipped.
    TooLong,
    /// The end of the input.
    End,
}

/// Reads lines. The last one needs no line break; an empty line is an empty payload.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    bytes_max: usize,
    keep_cr: bool,
    /// The present line; what of it was read survives a cancelled call.
    line: Vec<u8>,
    too_long: bool,
    /// The line in the buffer was given out.
    given: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// `keep_cr`: a CR before the line break belongs to the line.
    pub(crate) fn new(input: R, keep_cr: bool) -> Self {
        let line = Vec::new();
        Self { input, bytes_max: PAYLOAD_BYTES_MAX, keep_cr, line, too_long: false, given: false }
    }

    /// The bytes of the line that was read last.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Reads the next line. May be dropped and called again: nothing is lost.
    pub(crate) async fn next(&mut self) -> std::io::Result<Line> {
        if std::mem::take(&mut self.given) {
            self.line.clear();
            self.too_long = false;
        }
        loop {
            let available = self.input.fill_buf().await?;
            let at_end = available.is_empty();
            let newline = available.iter().position(|&byte| byte == b'\n');
            let part = &available[..newline.unwrap_or(available.len())];
            // A CR behind the longest line may belong to its line break.
            if self.line.len() + part.len() > self.bytes_max + usize::from(!self.keep_cr) {
                self.too_long = true;
                self.line.clear();
            }
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(newline.is_some());
            self.input.consume(consumed);
            if at_end && self.line.is_empty() && !self.too_long {
                return Ok(Line::End);
            }
            if at_end || newline.is_some() {
                self.given = true;
                if newline.is_some() && !self.keep_cr && self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                self.too_long |= self.line.len() > self.bytes_max;
                return Ok(if self.too_long { Line::TooLong } else { Line::Whole });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    fn check(input: &[u8], expected: &[Option<&[u8]>]) {
        check_with(false, input, expected);
    }

    fn check_with(keep_cr: bool, input: &[u8], expected: &[Option<&[u8]>]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
        for capacity in [1, 2, 3, 64] {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, input), keep_cr);
            lines.bytes_max = 5;
            let mut seen = Vec::new();
            runtime.block_on(async {
                loop {
                    match lines.next().await {
                        Ok(Line::Whole) => seen.push(Some(lines.line().to_vec())),
                        Ok(Line::TooLong) => seen.push(None),
                        Ok(Line::End) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            let expected: Vec<_> = expected.iter().map(|line| line.map(<[u8]>::to_vec)).collect();
            assert_eq!(seen, expected, "{input:?} by {capacity}");
        }
    }

    #[test]
    fn lines_are_any_bytes_between_line_breaks() {
        check(b"", &[]);
        check(b"\n", &[Some(b"")]);
        check(b"a\n\nb", &[Some(b"a"), Some(b""), Some(b"b")]);
        check(b"\xff\0\r\n", &[Some(b"\xff\0")]);
    }

    #[test]
    fn a_cr_belongs_to_the_line_break_unless_it_is_kept() {
        check(b"a\r\n\r\nb\rc\r\r\n\r", &[Some(b"a"), Some(b""), Some(b"b\rc\r"), Some(b"\r")]);
        check_with(true, b"a\r\n", &[Some(b"a\r")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_alone() {
        check(b"12345\n123456\n1\n", &[Some(b"12345"), None, Some(b"1")]);
        check(b"1\n1234567890123", &[Some(b"1"), None]);
        check(b"12345\r\n12345\r1\n123456\n12345\r", &[Some(b"12345"), None, None, None]);
        check_with(true, b"12345\r\n1234\r\n", &[None, Some(b"1234\r")]);
    }
}
