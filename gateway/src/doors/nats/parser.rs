//! Bytes of a client to commands (NATS client protocol).

use bytes::{Buf, Bytes, BytesMut};

use crate::admission::HEAD_BYTES_MAX;

/// Bytes of a command's line; `CONNECT` carries credentials and may have [`HEAD_BYTES_MAX`].
const LINE_BYTES_MAX: usize = 4096;
/// Bytes of a payload with its headers: what an event carries, less its reply subject.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 20) - 2 * LINE_BYTES_MAX;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Who it is, in JSON.
    Connect(Bytes),
    /// A message.
    Publish(Message),
    /// A subscription.
    Subscribe {
        /// Subject, maybe with wildcards.
        subject: String,
        /// Queue group.
        queue: Option<String>,
        /// The client's name of it.
        sid: String,
    },
    /// The end of a subscription.
    Unsubscribe {
        /// The client's name of it.
        sid: String,
        /// Not before so many messages.
        max: Option<u64>,
    },
    /// Is somebody there?
    Ping,
    /// Somebody is.
    Pong,
}

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Subject.
    pub subject: String,
    /// Where answers are to go.
    pub reply: Option<String>,
    /// Header block, from `NATS/1.0` to the empty line.
    pub headers: Option<Bytes>,
    /// The rest.
    pub payload: Bytes,
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

/// A message whose line has come and whose payload has not.
#[derive(Debug)]
struct Expected {
    subject: String,
    reply: Option<String>,
    header_bytes: Option<usize>,
    bytes: usize,
}

/// Reads commands. Holds one at most, and [`HEAD_BYTES_MAX`] of a client without an identity.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: BytesMut,
    /// Where the search for the end of the line goes on.
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
        if self.is_admitted { usize::MAX } else { HEAD_BYTES_MAX.saturating_sub(self.buffer.len()) }
    }

    /// Where to put what arrives.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next command, once all of it has arrived. Never looks at a byte twice for the end of a
    /// line.
    ///
    /// # Errors
    /// [`ParseError`]: the connection is to be closed.
    pub fn command(&mut self) -> Result<Option<Command>, ParseError> {
        loop {
            if let Some(expected) = self.expected.take() {
                if self.buffer.len() < expected.bytes + 2 {
                    self.expected = Some(expected);
                    return Ok(None);
                }
                return self.message(expected).map(Some);
            }
            let Some(line) = self.line()? else { return Ok(None) };
            if let Some(command) = self.read_line(&line)? {
                return Ok(Some(command));
            }
        }
    }

    /// Takes a line, without its end.
    fn line(&mut self) -> Result<Option<Bytes>, ParseError> {
        let found = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
        let length = found.map_or(self.buffer.len(), |at| self.searched + at);
        let is_connect = self.buffer.get(..7).is_some_and(|head| head.eq_ignore_ascii_case(b"CONNECT"));
        // With its end it fits into a head: there is room for it until it is whole.
        if length > if is_connect { HEAD_BYTES_MAX - 1 } else { LINE_BYTES_MAX } {
            return Err(ParseError::Line);
        }
        if found.is_none() {
            self.searched = self.buffer.len();
            return Ok(None);
        }
        self.searched = 0;
        let mut line = self.buffer.split_to(length + 1);
        line.truncate(length);
        if line.ends_with(b"\r") {
            line.truncate(length - 1);
        }
        Ok(Some(line.freeze()))
    }

    /// Reads a line. `None` if its payload is still to come, or nobody needs it.
    fn read_line(&mut self, line: &Bytes) -> Result<Option<Command>, ParseError> {
        let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
        let end = line.iter().position(blank).unwrap_or(line.len());
        let (operation, rest) = line.split_at(end);
        if operation.eq_ignore_ascii_case(b"CONNECT") {
            let start = end + rest.iter().take_while(|byte| blank(byte)).count();
            return Ok(Some(Command::Connect(line.slice(start..))));
        }
        let text = std::str::from_utf8(rest).map_err(|_| ParseError::Operation)?;
        let arguments: Vec<&str> = text.split_ascii_whitespace().collect();
        let owned = |text: &str| text.to_owned();
        let command = match (operation.to_ascii_uppercase().as_slice(), arguments.as_slice()) {
            (b"PUB", [subject, bytes]) => return self.expect(subject, None, None, bytes),
            (b"PUB", [subject, reply, bytes]) => return self.expect(subject, Some(reply), None, bytes),
            (b"HPUB", [subject, header, bytes]) => return self.expect(subject, None, Some(header), bytes),
            (b"HPUB", [subject, reply, header, bytes]) => {
                return self.expect(subject, Some(reply), Some(header), bytes);
            }
            (b"SUB", [subject, sid]) => {
                Command::Subscribe { subject: owned(subject), queue: None, sid: owned(sid) }
            }
            (b"SUB", [subject, queue, sid]) => {
                Command::Subscribe { subject: owned(subject), queue: Some(owned(queue)), sid: owned(sid) }
            }
            (b"UNSUB", [sid]) => Command::Unsubscribe { sid: owned(sid), max: None },
            (b"UNSUB", [sid, max]) => {
                let max = max.parse().map_err(|_| ParseError::Operation)?;
                Command::Unsubscribe { sid: owned(sid), max: Some(max) }
            }
            (b"PING", _) => Command::Ping,
            (b"PONG", _) => Command::Pong,
            // What a server would say, and empty lines.
            (b"+OK" | b"-ERR" | b"INFO" | b"", _) => return Ok(None),
            _ => return Err(ParseError::Operation),
        };
        Ok(Some(command))
    }

    fn expect(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        header: Option<&str>,
        bytes: &str,
    ) -> Result<Option<Command>, ParseError> {
        let number = |text: &str| text.parse::<usize>().map_err(|_| ParseError::Operation);
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
        let (subject, reply) = (subject.to_owned(), reply.map(str::to_owned));
        self.expected = Some(Expected { subject, reply, header_bytes, bytes });
        Ok(None)
    }

    fn message(&mut self, expected: Expected) -> Result<Command, ParseError> {
        let Expected { subject, reply, header_bytes, bytes } = expected;
        let mut payload = self.buffer.split_to(bytes).freeze();
        if !self.buffer.starts_with(b"\r\n") {
            return Err(ParseError::Operation);
        }
        self.buffer.advance(2);
        let headers = header_bytes.map(|bytes| payload.split_to(bytes));
        Ok(Command::Publish(Message { subject, reply, headers, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(pieces: &[&[u8]]) -> Result<Vec<Command>, ParseError> {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        parser.admit();
        for piece in pieces {
            parser.buffer().extend_from_slice(piece);
            while let Some(command) = parser.command()? {
                found.push(command);
            }
        }
        Ok(found)
    }

    const ALL: &[u8] = b"CONNECT {\"verbose\":false}\r\nPUB a.b 5\r\nhello\r\npub a.b _INBOX.1 0\r\n\r\n\
        HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\nSUB a.* 1\r\nSUB  a.>\tworkers 2\r\nUNSUB 1\r\nUNSUB 2 5\r\nPING\r\n+OK\r\nPONG\n";

    #[test]
    fn all_commands_are_read_however_they_arrive() {
        let whole = commands(&[ALL]).unwrap();
        assert_eq!(whole.len(), 10);
        assert_eq!(whole[0], Command::Connect("{\"verbose\":false}".into()));
        let message =
            |subject: &str, reply: Option<&str>, headers: Option<&'static str>, payload: &'static str| {
                Command::Publish(Message {
                    subject: subject.into(),
                    reply: reply.map(str::to_owned),
                    headers: headers.map(Bytes::from),
                    payload: payload.into(),
                })
            };
        assert_eq!(whole[1], message("a.b", None, None, "hello"));
        assert_eq!(whole[2], message("a.b", Some("_INBOX.1"), None, ""));
        assert_eq!(whole[3], message("a", None, Some("NATS/1.0\r\n\r\n"), "hi"));
        let queue = Some("workers".to_owned());
        assert_eq!(whole[5], Command::Subscribe { subject: "a.>".into(), queue, sid: "2".into() });
        assert_eq!(whole[7], Command::Unsubscribe { sid: "2".into(), max: Some(5) });
        for at in 0..ALL.len() {
            let (first, second) = ALL.split_at(at);
            assert_eq!(commands(&[first, second]).as_ref(), Ok(&whole), "cut at {at}");
        }
    }

    #[test]
    fn what_is_wrong_has_the_text_that_clients_know() {
        for (bytes, error) in [
            (&b"FLY\r\n"[..], ParseError::Operation),
            (b"PUB a\r\n", ParseError::Operation),
            (b"PUB a -1\r\n", ParseError::Operation),
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
        assert_eq!((parser.command(), parser.room()), (Ok(None), HEAD_BYTES_MAX - 9));
        let rest = vec![b' '; parser.room()];
        parser.buffer().extend_from_slice(&rest);
        assert_eq!((parser.room(), parser.command()), (0, Err(ParseError::Line)));
    }
}
