//! Headers and the reply subject in front of a payload.
//!
//! An event has tags and a payload; a message has a reply subject and headers as well. Tags cannot
//! carry them, because one subject is one tag set. So the header block of `HPUB` stands in front of
//! the payload, with the reply subject as its first line:
//!
//! ```text
//! NATS/1.0␍␊
//! Millrace-Reply: _INBOX.x.1␍␊
//! Trace: 17␍␊
//! ␍␊
//! payload
//! ```
//!
//! A message with neither is its payload alone, so that others read it as it is; one that happens
//! to begin like a header block gets an empty one in front of it, which is taken off again.

use std::borrow::Cow;

/// What a header block begins with.
const BEGINNING: &[u8] = b"NATS/1.0";
const LINE_END: &[u8] = b"\r\n";
const BLOCK_END: &[u8] = b"\r\n\r\n";
/// The line of the reply subject.
const REPLY: &[u8] = b"Millrace-Reply: ";

/// A payload and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Where answers are to go.
    pub reply: Option<&'a str>,
    /// Header block, from `NATS/1.0` to the empty line.
    pub headers: Option<Cow<'a, [u8]>>,
    /// The payload.
    pub payload: &'a [u8],
}

/// What a header block that a client sends must be.
#[must_use]
pub fn is_header_block(block: &[u8]) -> bool {
    block.starts_with(BEGINNING) && block.ends_with(BLOCK_END)
}

/// The payload of an event. `headers` is a header block ([`is_header_block`]).
#[must_use]
pub fn seal<'a>(reply: Option<&str>, headers: Option<&[u8]>, payload: &'a [u8]) -> Cow<'a, [u8]> {
    if reply.is_none() && headers.is_none() && !payload.starts_with(BEGINNING) {
        return payload.into();
    }
    let block = headers.unwrap_or(b"NATS/1.0\r\n\r\n");
    let first_line = find(block, LINE_END).unwrap_or_default() + LINE_END.len();
    let (status, lines) = block.split_at(first_line.min(block.len()));
    let mut sealed = Vec::with_capacity(block.len() + payload.len() + 64);
    sealed.extend_from_slice(status);
    if let Some(reply) = reply {
        sealed.extend_from_slice(&[REPLY, reply.as_bytes(), LINE_END].concat());
    }
    sealed.extend_from_slice(lines);
    sealed.extend_from_slice(payload);
    sealed.into()
}

/// What an event's payload carries; all of it is payload if it has no header block.
#[must_use]
pub fn open(sealed: &[u8]) -> Opened<'_> {
    let plain = Opened { reply: None, headers: None, payload: sealed };
    if !sealed.starts_with(BEGINNING) {
        return plain;
    }
    let Some(end) = find(sealed, BLOCK_END) else { return plain };
    let (block, payload) = sealed.split_at(end + BLOCK_END.len());
    let first_line = find(block, LINE_END).unwrap_or_default() + LINE_END.len();
    let Some(after) = block[first_line..].strip_prefix(REPLY) else {
        return Opened { reply: None, headers: kept(block.into()), payload };
    };
    let length = find(after, LINE_END).unwrap_or_default();
    let Ok(reply) = std::str::from_utf8(&after[..length]) else { return plain };
    let rest = [&block[..first_line], &after[length + LINE_END.len()..]].concat();
    Opened { reply: Some(reply), headers: kept(rest.into()), payload }
}

/// A block without a status and without lines is none.
fn kept(block: Cow<'_, [u8]>) -> Option<Cow<'_, [u8]>> {
    (block.len() > BEGINNING.len() + BLOCK_END.len()).then_some(block)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_as_it_was() {
        for reply in [None, Some("_INBOX.x.1")] {
            for headers in [None, Some("NATS/1.0\r\nA: b\r\nA: c\r\n\r\n"), Some("NATS/1.0 503\r\n\r\n")] {
                for payload in ["", "hello", "NATS/1.0", "NATS/1.0\r\nX: y\r\n\r\n", "\r\n\r\n"] {
                    let headers = headers.map(str::as_bytes);
                    let sealed = seal(reply, headers, payload.as_bytes());
                    let headers = headers.map(Cow::Borrowed);
                    assert_eq!(open(&sealed), Opened { reply, headers, payload: payload.as_bytes() });
                }
            }
        }
        assert_eq!(seal(None, None, b"plain"), &b"plain"[..]);
    }

    #[test]
    fn other_payloads_are_payloads() {
        for other in ["", "NATS/1.0", "NATS/1.0 no end", "x NATS/1.0\r\n\r\n"] {
            let payload = other.as_bytes();
            assert_eq!(open(payload), Opened { reply: None, headers: None, payload });
        }
    }
}
