//! Packets for a client, gathered until they are written.

use super::packet::{Qos, Version};
use super::reason::Code;

/// Bytes of a text that a packet can carry.
const TEXT_BYTES_MAX: usize = u16::MAX as usize;

/// Writes packets of one version.
#[derive(Debug)]
pub struct Encoder {
    version: Version,
    /// Whether the client wants reasons in words.
    has_reasons: bool,
    bytes: Vec<u8>,
}

/// What a client is told with `CONNACK`; 3.1.1 tells it less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Something of an earlier session is there.
    pub session_present: bool,
    /// Seconds for which the session is kept, if other than asked for.
    pub session_expiry: Option<u32>,
    /// Messages of QoS 1 that the client may send before others are acknowledged.
    pub receive_max: u16,
    /// Bytes that its packets may have.
    pub packet_max: u32,
    /// The name that it was given.
    pub client: Option<String>,
    /// Topic aliases that it may use.
    pub topic_alias_max: u16,
    /// Seconds of keep-alive, if other than asked for.
    pub keep_alive: Option<u16>,
}

/// A message for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Topic name; empty if a topic alias says it.
    pub topic: &'a str,
    /// The topic's number.
    pub topic_alias: Option<u16>,
    /// Its number; with QoS 1 only.
    pub packet: Option<u16>,
    /// It was sent before.
    pub is_again: bool,
    /// Payload.
    pub payload: &'a [u8],
    /// Whether the payload is text in UTF-8.
    pub is_text: bool,
    /// Seconds that are left of its time.
    pub expiry: Option<u32>,
    /// What the payload is.
    pub content_type: Option<&'a str>,
    /// Where answers are to go.
    pub response_topic: Option<&'a str>,
    /// What an answer is to carry.
    pub correlation: Option<&'a [u8]>,
    /// The client's number of the subscription.
    pub subscription: Option<u32>,
    /// User properties.
    pub user: &'a [(&'a str, &'a str)],
}

impl Outgoing<'_> {
    /// Its QoS.
    #[must_use]
    pub const fn qos(&self) -> Qos {
        if self.packet.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce }
    }
}

impl Encoder {
    /// An encoder for a client of this version; `has_reasons` if it wants reasons in words.
    #[must_use]
    pub const fn new(version: Version, has_reasons: bool) -> Self {
        Self { version, has_reasons, bytes: Vec::new() }
    }

    /// What is gathered.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what is gathered.
    pub fn clear(&mut self) {
        self.bytes.clear();
        // A large message leaves no large buffer with each of many clients.
        self.bytes.shrink_to(4096);
    }

    /// Gathers a packet of `kind` (its first byte), unless its body has more than `body_max` bytes.
    fn packet(&mut self, kind: u8, body: &[&[u8]], body_max: usize) -> bool {
        let bytes: usize = body.iter().map(|part| part.len()).sum();
        if bytes > body_max {
            return false;
        }
        self.bytes.push(kind);
        put_varint(&mut self.bytes, bytes);
        body.iter().for_each(|part| self.bytes.extend_from_slice(part));
        true
    }

    fn small(&mut self, kind: u8, body: &[u8]) {
        self.packet(kind, &[body], usize::MAX);
    }

    /// `CONNACK`: the client is taken.
    pub fn accept(&mut self, accepted: &Accepted) {
        let mut body = vec![u8::from(accepted.session_present), Code::SUCCESS.0];
        if self.version == Version::V5 {
            let mut properties = Vec::with_capacity(64);
            let numbers = [(0x11, accepted.session_expiry), (0x27, Some(accepted.packet_max))];
            for (identifier, value) in numbers {
                if let Some(value) = value {
                    properties.push(identifier);
                    properties.extend_from_slice(&value.to_be_bytes());
                }
            }
            let numbers = [
                (0x21, Some(accepted.receive_max)),
                (0x22, Some(accepted.topic_alias_max)),
                (0x13, accepted.keep_alive),
            ];
            for (identifier, value) in numbers {
                if let Some(value) = value {
                    properties.push(identifier);
                    properties.extend_from_slice(&value.to_be_bytes());
                }
            }
            // Maximum QoS 1; nothing is retained.
            properties.extend_from_slice(&[0x24, 1, 0x25, 0]);
            if let Some(client) = &accepted.client {
                properties.push(0x12);
                put_text(&mut properties, client.as_bytes());
            }
            put_varint(&mut body, properties.len());
            body.extend_from_slice(&properties);
        }
        self.small(0x20, &body);
    }

    /// `CONNACK`: the client is refused.
    pub fn refuse(&mut self, code: Code, why: &str) {
        match self.version {
            Version::V3 => self.small(0x20, &[0, code.of_connect_3()]),
            Version::V5 => {
                let mut body = vec![0, code.0];
                body.extend_from_slice(&self.reason(why));
                self.small(0x20, &body);
            }
        }
    }

    /// `DISCONNECT`, which 3.1.1 has for clients only.
    pub fn disconnect(&mut self, code: Code, why: &str) {
        if self.version == Version::V5 {
            let mut body = vec![code.0];
            body.extend_from_slice(&self.reason(why));
            self.small(0xe0, &body);
        }
    }

    /// `PUBACK`; 3.1.1 has no reason in it.
    pub fn published(&mut self, packet: u16, code: Code, why: &str) {
        let mut body = packet.to_be_bytes().to_vec();
        if self.version == Version::V5 && code != Code::SUCCESS {
            body.push(code.0);
            if code.is_failure() {
                body.extend_from_slice(&self.reason(why));
            }
        }
        self.small(0x40, &body);
    }

    /// `PUBREC` of 3.1.1: a message of QoS 2 is taken.
    pub fn received(&mut self, packet: u16) {
        self.small(0x50, &packet.to_be_bytes());
    }

    /// `PUBCOMP` of 3.1.1: its number can be used again.
    pub fn completed(&mut self, packet: u16) {
        self.small(0x70, &packet.to_be_bytes());
    }

    /// `SUBACK`: a code for each topic filter; codes of failure are one in 3.1.1.
    pub fn subscribed(&mut self, packet: u16, codes: &[Code]) {
        let is_v3 = self.version == Version::V3;
        let code = |code: &Code| if is_v3 && code.is_failure() { Code::UNSPECIFIED.0 } else { code.0 };
        self.answers(0x90, packet, &codes.iter().map(code).collect::<Vec<_>>());
    }

    /// `UNSUBACK`: a code for each topic filter; 3.1.1 has none.
    pub fn unsubscribed(&mut self, packet: u16, codes: &[Code]) {
        let codes = if self.version == Version::V3 { &[] } else { codes };
        self.answers(0xb0, packet, &codes.iter().map(|code| code.0).collect::<Vec<_>>());
    }

    fn answers(&mut self, kind: u8, packet: u16, codes: &[u8]) {
        let no_properties: &[u8] = if self.version == Version::V5 { &[0] } else { &[] };
        self.packet(kind, &[&packet.to_be_bytes(), no_properties, codes], usize::MAX);
    }

    /// `PINGRESP`.
    pub fn pong(&mut self) {
        self.small(0xd0, &[]);
    }

    /// A message. Returns whether it has at most `packet_max` bytes: it is not sent otherwise.
    pub fn message(&mut self, message: &Outgoing<'_>, packet_max: usize) -> bool {
        let mut head = Vec::with_capacity(message.topic.len() + 64);
        put_text(&mut head, message.topic.as_bytes());
        if let Some(packet) = message.packet {
            head.extend_from_slice(&packet.to_be_bytes());
        }
        if self.version == Version::V5 {
            let properties = properties(message);
            put_varint(&mut head, properties.len());
            head.extend_from_slice(&properties);
        }
        let flags = (u8::from(message.is_again) << 3) | (u8::from(message.qos() == Qos::AtLeastOnce) << 1);
        // The first byte, and a length of four bytes at most.
        self.packet(0x30 | flags, &[&head, message.payload], packet_max.saturating_sub(5))
    }

    /// Properties with a reason in words, for clients that want it.
    fn reason(&self, why: &str) -> Vec<u8> {
        let mut properties = Vec::new();
        if self.has_reasons && !why.is_empty() {
            properties.push(0x1f);
            put_text(&mut properties, why.as_bytes());
        }
        let mut all = Vec::with_capacity(properties.len() + 2);
        put_varint(&mut all, properties.len());
        all.extend_from_slice(&properties);
        all
    }
}

fn properties(message: &Outgoing<'_>) -> Vec<u8> {
    let mut properties = Vec::new();
    if message.is_text {
        properties.extend_from_slice(&[0x01, 1]);
    }
    if let Some(expiry) = message.expiry {
        properties.push(0x02);
        properties.extend_from_slice(&expiry.to_be_bytes());
    }
    let texts = [
        (0x03, message.content_type.map(str::as_bytes)),
        (0x08, message.response_topic.map(str::as_bytes)),
        (0x09, message.correlation),
    ];
    for (identifier, text) in texts {
        if let Some(text) = text {
            properties.push(identifier);
            put_text(&mut properties, text);
        }
    }
    if let Some(subscription) = message.subscription {
        properties.push(0x0b);
        put_varint(&mut properties, usize::try_from(subscription).unwrap_or_default());
    }
    if let Some(alias) = message.topic_alias {
        properties.push(0x23);
        properties.extend_from_slice(&alias.to_be_bytes());
    }
    for (name, value) in message.user {
        properties.push(0x26);
        put_text(&mut properties, name.as_bytes());
        put_text(&mut properties, value.as_bytes());
    }
    properties
}

/// A text behind its length; what is too long is cut, which only reasons in words can be.
fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Outgoing<'_> = Outgoing {
        topic: "a/b",
        topic_alias: None,
        packet: None,
        is_again: false,
        payload: b"hello",
        is_text: false,
        expiry: None,
        content_type: None,
        response_topic: None,
        correlation: None,
        subscription: None,
        user: &[],
    };

    fn encoded(version: Version, write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
        let mut encoder = Encoder::new(version, true);
        write(&mut encoder);
        encoder.bytes().to_vec()
    }

    #[test]
    fn messages_are_written_as_the_standard_says() {
        let message = |version, message: Outgoing<'_>| {
            encoded(version, |encoder| assert!(encoder.message(&message, usize::MAX)))
        };
        assert_eq!(message(Version::V3, PLAIN), b"\x30\x0a\x00\x03a/bhello");
        let again = Outgoing { packet: Some(258), is_again: true, ..PLAIN };
        assert_eq!(message(Version::V3, again), b"\x3a\x0c\x00\x03a/b\x01\x02hello");
        let user = [("k", "v")];
        let rich =
            Outgoing { subscription: Some(200), topic_alias: Some(3), topic: "", user: &user, ..PLAIN };
        assert_eq!(
            message(Version::V5, rich),
            b"\x30\x15\x00\x00\x0d\x0b\xc8\x01\x23\x00\x03\x26\x00\x01k\x00\x01vhello"
        );
        let is_sent = |packet_max| Encoder::new(Version::V3, true).message(&PLAIN, packet_max);
        assert!(is_sent(15) && !is_sent(14));
    }

    #[test]
    fn answers_have_what_each_version_has() {
        let codes = [Code(1), Code::FILTER];
        assert_eq!(encoded(Version::V3, |to| to.subscribed(9, &codes)), b"\x90\x04\x00\x09\x01\x80");
        assert_eq!(encoded(Version::V5, |to| to.subscribed(9, &codes)), b"\x90\x05\x00\x09\x00\x01\x8f");
        assert_eq!(encoded(Version::V3, |to| to.unsubscribed(9, &codes)), b"\xb0\x02\x00\x09");
        assert_eq!(encoded(Version::V3, |to| to.refuse(Code::PASSWORD, "no")), b"\x20\x02\x00\x04");
        assert_eq!(
            encoded(Version::V5, |to| to.refuse(Code::PASSWORD, "no")),
            b"\x20\x08\x00\x86\x05\x1f\x00\x02no"
        );
        assert_eq!(encoded(Version::V5, |to| to.published(1, Code::SUCCESS, "")), b"\x40\x02\x00\x01");
        assert_eq!(
            encoded(Version::V5, |to| to.published(1, Code::NO_SUBSCRIBERS, "")),
            b"\x40\x03\x00\x01\x10"
        );
        assert_eq!(encoded(Version::V3, |to| to.disconnect(Code::BUSY, "")), b"");
        assert_eq!(encoded(Version::V5, |to| to.disconnect(Code::BUSY, "")), b"\xe0\x02\x89\x00");
        assert_eq!(encoded(Version::V3, |to| to.accept(&Accepted::default())), b"\x20\x02\x00\x00");
    }
}
