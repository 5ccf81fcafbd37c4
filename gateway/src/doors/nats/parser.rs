//! Bytes of a client to commands (NATS client protocol).
//!
//! A command borrows what it says from the buffer that the client's bytes were read into, because a
//! door reads many thousands of them: nothing is copied before somebody keeps it.

use bytes::{Buf, BytesMut};

use crate::admission::HEAD_BYTES_MAX;

/// Bytes of a command's line; `CONNECT` carries credentials and may have [`HEAD_BYTES_MAX`].
const LINE_BYTES_MAX: usize = 4096;
/// Bytes of a payload with its headers: what an event carries, less its reply subject.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 20) - 2 * LINE_BYTES_MAX;
/// The command whose line is no text, and may be longer than others.
const CONNECT: &[u8] = b"CONNECT";
/// Arguments of a line that are told apart: no command has more.
const ARGUMENTS_MAX: usize = 4;

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Who it is, in JSON.
    Connect(&'a [u8]),
    /// A message.
    Publish(Message<'a>),
    /// A subscription.
    Subscribe {
        /// Subject, maybe with wildcards.
        subject: &'a str,
        /// Queue group.
        queue: Option<&'a str>,
        /// The client's name of it.
        sid: &'a str,
    },
    /// The end of a subscription.
    Unsubscribe {
        /// The client's name of it.
        sid: &'a str,
        /// Not before so many messages.
        max: Option<u64>,
    },
    /// Is somebody there?
    Ping,
    /// Somebody is.
    Pong,
}

/// A message of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Subject.
    pub subject: &'a str,
    /// Where answers are to go.
    pub reply: Option<&'a str>,
    /// Header block, from `NATS/1.0` to the empty line.
    pub headers: Option<&'a [u8]>,
    /// The rest.
    pub payload: &'a [u8],
}

/// What a client is told before its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A command that there is not, or one without what it needs.
    #[error("Unknown Protocol Operation")]
    Operation,
    /// A line that is too long.
    #[error("Maximum Control Line Exceeded")]
    Line,
    /// A message of a client that has no identity: nothing of it is kept.
    #[error("Authorization Violation")]
    Unauthorized,
    /// A payload that is too long.
    #[error("Maximum Payload Violation")]
    Payload,
}

/// Where something stands, counted from the first byte of its command.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn bytes(self, command: &[u8]) -> &[u8] {
        command.get(self.start..self.end).unwrap_or_default()
    }

    /// Its text. The line was found to be UTF-8 when it was taken apart.
    fn text(self, command: &[u8]) -> &str {
        std::str::from_utf8(self.bytes(command)).unwrap_or_default()
    }
}

/// A message whose line has come and whose payload may not have.
#[derive(Debug, Clone, Copy)]
struct Expected {
    subject: Span,
    reply: Option<Span>,
    header_bytes: Option<usize>,
    /// Headers and payload.
    body: Span,
}

impl Expected {
    fn message(self, command: &[u8]) -> Message<'_> {
        let (headers, payload) = self.body.bytes(command).split_at(self.header_bytes.unwrap_or(0));
        Message {
            subject: self.subject.text(command),
            reply: self.reply.map(|reply| reply.text(command)),
            headers: self.header_bytes.map(|_| headers),
            payload,
        }
    }
}

/// What a line is.
enum Line {
    /// Nobody needs it.
    Nothing,
    /// What it announces follows.
    Message(Expected),
    /// A command by itself.
    Whole(Whole),
}

/// A command that is a line alone.
enum Whole {
    Connect(Span),
    Subscribe { subject: Span, queue: Option<Span>, sid: Span },
    Unsubscribe { sid: Span, max: Option<u64> },
    Ping,
    Pong,
}

impl Whole {
    fn command(self, line: &[u8]) -> Command<'_> {
        match self {
            Self::Connect(json) => Command::Connect(json.bytes(line)),
            Self::Subscribe { subject, queue, sid } => Command::Subscribe {
                subject: subject.text(line),
                queue: queue.map(|queue| queue.text(line)),
                sid: sid.text(line),
            },
            Self::Unsubscribe { sid, max } => Command::Unsubscribe { sid: sid.text(line), max },
            Self::Ping => Command::Ping,
            Self::Pong => Command::Pong,
        }
    }
}

/// Reads commands. Holds one at most, and [`HEAD_BYTES_MAX`] of a client without an identity.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: BytesMut,
    /// Where the present command begins: what stands before it was given out.
    begin: usize,
    /// How far the present command was searched for the end of its line.
    searched: usize,
    expected: Option<Expected>,
    /// The client has an identity.
    is_admitted: bool,
}

impl Parser {
    /// The client has an identity: it may send messages.
    pub const fn admit(&mut self) {
        self.is_admitted = true;
    }

    /// How many bytes may be put there next. A command is left to be read while there are none.
    #[must_use]
    pub fn room(&self) -> usize {
        let held = self.buffer.len() - self.begin;
        if self.is_admitted { usize::MAX } else { HEAD_BYTES_MAX.saturating_sub(held) }
    }

    /// Where to put what arrives.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.advance(std::mem::take(&mut self.begin));
        &mut self.buffer
    }

    /// The next command, once all of it has arrived. Never looks at a byte twice for the end of a
    /// line.
    ///
    /// # Errors
    /// [`ParseError`]: the connection is to be closed.
    pub fn command(&mut self) -> Result<Option<Command<'_>>, ParseError> {
        loop {
            if let Some(expected) = self.expected {
                let end = self.begin + expected.body.end;
                let Some(line_end) = self.buffer.get(end..end + 2) else { return Ok(None) };
                if line_end != b"\r\n" {
                    return Err(ParseError::Operation);
                }
                self.expected = None;
                let command = std::mem::replace(&mut self.begin, end + 2);
                return Ok(Some(Command::Publish(expected.message(&self.buffer[command..]))));
            }
            let Some((length, behind)) = self.line()? else { return Ok(None) };
            match self.read_line(length, behind)? {
                Line::Nothing => self.begin += behind,
                Line::Message(expected) => self.expected = Some(expected),
                Line::Whole(whole) => {
                    let begin = self.begin;
                    self.begin += behind;
                    return Ok(Some(whole.command(&self.buffer[begin..])));
                }
            }
        }
    }

    /// Finds a line: its length without its end, and where what follows begins.
    fn line(&mut self) -> Result<Option<(usize, usize)>, ParseError> {
        let command = &self.buffer[self.begin..];
        let found = command[self.searched..].iter().position(|&byte| byte == b'\n');
        let length = found.map_or(command.len(), |at| self.searched + at);
        // With its end it fits into a head: there is room for it until it is whole.
        if length > LINE_BYTES_MAX && (length >= HEAD_BYTES_MAX || !is_connect(command)) {
            return Err(ParseError::Line);
        }
        if found.is_none() {
            self.searched = length;
            return Ok(None);
        }
        self.searched = 0;
        let has_return = length > 0 && command[length - 1] == b'\r';
        Ok(Some((length - usize::from(has_return), length + 1)))
    }

    /// Reads the line of this length; what follows it begins at `behind`.
    fn read_line(&self, length: usize, behind: usize) -> Result<Line, ParseError> {
        let line = &self.buffer[self.begin..self.begin + length];
        let end = line.iter().position(is_blank).unwrap_or(length);
        if is_connect(line) && end == CONNECT.len() {
            let start = end + line[end..].iter().take_while(|byte| is_blank(byte)).count();
            return Ok(Line::Whole(Whole::Connect(Span { start, end: length })));
        }
        std::str::from_utf8(&line[end..]).map_err(|_| ParseError::Operation)?;
        let mut found = [Span::default(); ARGUMENTS_MAX];
        let arguments = arguments(line, end, &mut found);
        let mut name = [0; 5];
        let Some(name) = name.get_mut(..end) else { return Err(ParseError::Operation) };
        name.copy_from_slice(&line[..end]);
        name.make_ascii_uppercase();
        let number = |span: Span| number(span.text(line));
        let expect =
            |subject, reply, header, bytes| self.expect(line, behind, [subject, bytes], reply, header);
        Ok(match (&*name, arguments) {
            (b"PUB", Some(&[subject, bytes])) => expect(subject, None, None, bytes)?,
            (b"PUB", Some(&[subject, reply, bytes])) => expect(subject, Some(reply), None, bytes)?,
            (b"HPUB", Some(&[subject, header, bytes])) => expect(subject, None, Some(header), bytes)?,
            (b"HPUB", Some(&[subject, reply, header, bytes])) => {
                expect(subject, Some(reply), Some(header), bytes)?
            }
            (b"SUB", Some(&[subject, sid])) => Line::Whole(Whole::Subscribe { subject, queue: None, sid }),
            (b"SUB", Some(&[subject, queue, sid])) => {
                Line::Whole(Whole::Subscribe { subject, queue: Some(queue), sid })
            }
            (b"UNSUB", Some(&[sid])) => Line::Whole(Whole::Unsubscribe { sid, max: None }),
            (b"UNSUB", Some(&[sid, max])) => Line::Whole(Whole::Unsubscribe { sid, max: Some(number(max)?) }),
            (b"PING", _) => Line::Whole(Whole::Ping),
            (b"PONG", _) => Line::Whole(Whole::Pong),
            // What a server would say, and empty lines.
            (b"+OK" | b"-ERR" | b"INFO" | b"", _) => Line::Nothing,
            _ => return Err(ParseError::Operation),
        })
    }

    /// What follows the line of a message.
    fn expect(
        &self,
        line: &[u8],
        behind: usize,
        [subject, bytes]: [Span; 2],
        reply: Option<Span>,
        header: Option<Span>,
    ) -> Result<Line, ParseError> {
        let number = |span: Span| number(span.text(line));
        let bytes = number(bytes)?;
        let header_bytes = header.map(number).transpose()?;
        if !self.is_admitted {
            return Err(ParseError::Unauthorized);
        }
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(ParseError::Payload);
        }
        if header_bytes.is_some_and(|header| header > bytes) {
            return Err(ParseError::Operation);
        }
        let body = Span { start: behind, end: behind + bytes };
        Ok(Line::Message(Expected { subject, reply, header_bytes, body }))
    }
}

/// A number without a sign, which `parse` would take.
fn number<N: std::str::FromStr>(text: &str) -> Result<N, ParseError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text);
    digits.and_then(|digits| digits.parse().ok()).ok_or(ParseError::Operation)
}

fn is_connect(line: &[u8]) -> bool {
    line.get(..CONNECT.len()).is_some_and(|name| name.eq_ignore_ascii_case(CONNECT))
}

fn is_blank(byte: &u8) -> bool {
    *byte == b' ' || *byte == b'\t'
}

/// The arguments of a line, whose name ends at `from`; `None` if they are more than any command
/// has.
fn arguments<'a>(line: &[u8], from: usize, found: &'a mut [Span; ARGUMENTS_MAX]) -> Option<&'a [Span]> {
    let (mut count, mut at) = (0, from);
    loop {
        at += line[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if at == line.len() {
            return found.get(..count);
        }
        let start = at;
        at += line[at..].iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        *found.get_mut(count)? = Span { start, end: at };
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands in pieces, written out, because each is gone with the next one.
    fn commands(pieces: &[&[u8]]) -> Result<Vec<String>, ParseError> {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        parser.admit();
        for piece in pieces {
            parser.buffer().extend_from_slice(piece);
            while let Some(command) = parser.command()? {
                found.push(format!("{command:?}"));
            }
        }
        Ok(found)
    }

    const ALL: &[u8] = b"CONNECT {\"verbose\":false}\r\nPUB a.b 5\r\nhello\r\npub a.b _INBOX.1 0\r\n\r\n\
        HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\nSUB a.* 1\r\nSUB  a.>\tworkers 2\r\nUNSUB 1\r\nUNSUB 2 5\r\nPING\r\n+OK\r\nPONG\n";

    #[test]
    fn all_commands_are_read_however_they_arrive() {
        let publish =
            |subject, reply, headers, payload| Command::Publish(Message { subject, reply, headers, payload });
        let expected = [
            Command::Connect(b"{\"verbose\":false}"),
            publish("a.b", None, None, b"hello"),
            publish("a.b", Some("_INBOX.1"), None, b""),
            publish("a", None, Some(b"NATS/1.0\r\n\r\n"), b"hi"),
            Command::Subscribe { subject: "a.*", queue: None, sid: "1" },
            Command::Subscribe { subject: "a.>", queue: Some("workers"), sid: "2" },
            Command::Unsubscribe { sid: "1", max: None },
            Command::Unsubscribe { sid: "2", max: Some(5) },
            Command::Ping,
            Command::Pong,
        ];
        let expected: Vec<String> = expected.iter().map(|command| format!("{command:?}")).collect();
        assert_eq!(commands(&[ALL]).as_ref(), Ok(&expected));
        for at in 0..ALL.len() {
            let (first, second) = ALL.split_at(at);
            assert_eq!(commands(&[first, second]).as_ref(), Ok(&expected), "cut at {at}");
        }
        let bytes: Vec<&[u8]> = ALL.chunks(1).collect();
        assert_eq!(commands(&bytes), Ok(expected), "byte by byte");
    }

    #[test]
    fn what_is_wrong_has_the_text_that_clients_know() {
        for (bytes, error) in [
            (&b"FLY\r\n"[..], ParseError::Operation),
            (b"PUB a\r\n", ParseError::Operation),
            (b"PUB a -1\r\n", ParseError::Operation),
            (b"PUB a +1\r\nx\r\n", ParseError::Operation),
            (b"UNSUB 1 +2\r\n", ParseError::Operation),
            (b"PUB a b c 1\r\n", ParseError::Operation),
            (b"HPUB a b 1 2 3\r\n", ParseError::Operation),
            (b"CONNECTION {}\r\n", ParseError::Operation),
            (b"PUB a 1\r\nxy\r\n", ParseError::Operation),
            (b"HPUB a 3 2\r\n", ParseError::Operation),
            (b"PUB a 1040385\r\n", ParseError::Payload),
            (b"\xff \xff\r\n", ParseError::Operation),
        ] {
            assert_eq!(commands(&[bytes]), Err(error), "{bytes:?}");
        }
        assert_eq!(commands(&[&[b'x'; LINE_BYTES_MAX + 1]]), Err(ParseError::Line));
        let connect = [b"CONNECT ", &vec![b' '; HEAD_BYTES_MAX][..]].concat();
        assert_eq!(commands(&[&connect]), Err(ParseError::Line));
    }

    #[test]
    fn a_client_without_an_identity_fills_no_more_than_a_head() {
        let mut parser = Parser::default();
        parser.buffer().extend_from_slice(b"PUB a 60000\r\n");
        assert_eq!(parser.command(), Err(ParseError::Unauthorized), "before its payload is there");
        let mut parser = Parser::default();
        parser.buffer().extend_from_slice(b"CONNECT {");
        assert_eq!(parser.command(), Ok(None));
        assert_eq!(parser.room(), HEAD_BYTES_MAX - 9);
        let rest = vec![b' '; parser.room()];
        parser.buffer().extend_from_slice(&rest);
        assert_eq!(parser.room(), 0);
        assert_eq!(parser.command(), Err(ParseError::Line));
    }
}
