//! Properties of MQTT 5 (section 2.2.2): which there are, and in which packets.

use bytes::Bytes;

use super::field::Fields;
use super::wrong::Wrong;

/// Packets of clients that have properties. What is read and told nobody, because the door has no
/// use for it: authentication data, reason strings, user properties of all but messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Connect = 1,
    Will = 2,
    Publish = 4,
    Subscribe = 8,
    /// `UNSUBSCRIBE`, which has user properties only.
    Unsubscribe = 16,
    /// `PUBACK`.
    Ack = 32,
    Disconnect = 64,
}

/// How a property's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Byte,
    Two,
    Four,
    Varint,
    Text,
    Binary,
    Pair,
}

const MESSAGE: u8 = Place::Publish as u8 | Place::Will as u8;
const CONNECT: u8 = Place::Connect as u8;
const ALL: u8 = u8::MAX;

/// Identifier, how the value is written, and in which packets it may be.
const TABLE: [(u32, Kind, u8); 18] = [
    (0x01, Kind::Byte, MESSAGE),
    (0x02, Kind::Four, MESSAGE),
    (0x03, Kind::Text, MESSAGE),
    (0x08, Kind::Text, MESSAGE),
    (0x09, Kind::Binary, MESSAGE),
    (0x0b, Kind::Varint, Place::Subscribe as u8),
    (0x11, Kind::Four, CONNECT | Place::Disconnect as u8),
    (0x15, Kind::Text, CONNECT),
    (0x16, Kind::Binary, CONNECT),
    (0x17, Kind::Byte, CONNECT),
    (0x18, Kind::Four, Place::Will as u8),
    (0x19, Kind::Byte, CONNECT),
    (0x1f, Kind::Text, Place::Ack as u8 | Place::Disconnect as u8),
    (0x21, Kind::Two, CONNECT),
    (0x22, Kind::Two, CONNECT),
    (0x23, Kind::Two, Place::Publish as u8),
    (0x26, Kind::Pair, ALL),
    (0x27, Kind::Four, CONNECT),
];

/// The properties of a packet; those of other packets are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// Whether the payload is text in UTF-8.
    pub is_text: bool,
    /// Seconds after which nobody wants the message any more.
    pub message_expiry: Option<u32>,
    /// What the payload is.
    pub content_type: Option<String>,
    /// Where answers are to go.
    pub response_topic: Option<String>,
    /// What an answer is to carry.
    pub correlation: Option<Bytes>,
    /// The client's number of a subscription.
    pub subscription: Option<u32>,
    /// Seconds for which a session is kept when its connection is gone.
    pub session_expiry: Option<u32>,
    /// The client wants another authentication than a password.
    pub auth_method: Option<String>,
    /// Whether reason strings are wanted.
    pub wants_no_reasons: bool,
    /// Seconds between the end of a connection and its will.
    pub will_delay: u32,
    /// Messages of QoS 1 that the client takes before it has acknowledged others.
    pub receive_max: Option<u16>,
    /// Topic aliases that the client keeps.
    pub topic_alias_max: u16,
    /// The topic's number, or the number that it gets.
    pub topic_alias: Option<u16>,
    /// Bytes that a packet for the client may have.
    pub packet_max: Option<u32>,
    /// Names and values.
    pub user: Vec<(String, String)>,
}

impl Properties {
    /// Reads the properties of a packet, behind their length.
    pub(super) fn read(fields: &mut Fields, place: Place) -> Result<Self, Wrong> {
        let bytes = fields.varint()?;
        let mut fields = fields.take(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let (mut properties, mut seen) = (Self::default(), 0_u64);
        while !fields.is_empty() {
            let identifier = fields.varint()?;
            let known =
                TABLE.iter().find(|(known, _, places)| *known == identifier && places & place as u8 != 0);
            let Some((_, kind, _)) = known else {
                return Err(Wrong::Malformed("a property has no place in this packet"));
            };
            // Identifiers are below 64, see the table.
            let bit = 1 << identifier;
            if seen & bit != 0 && *kind != Kind::Pair {
                return Err(Wrong::Protocol("a property is there twice"));
            }
            seen |= bit;
            properties.take(identifier, *kind, &mut fields)?;
        }
        let has_data = seen & (1 << 0x16) != 0;
        if has_data && properties.auth_method.is_none() {
            return Err(Wrong::Protocol("authentication data without a method"));
        }
        Ok(properties)
    }

    fn take(&mut self, identifier: u32, kind: Kind, fields: &mut Fields) -> Result<(), Wrong> {
        match kind {
            Kind::Byte => self.flag(identifier, fields.u8()?)?,
            Kind::Two => self.number(identifier, u32::from(fields.u16()?))?,
            Kind::Four => self.number(identifier, fields.u32()?)?,
            Kind::Varint => self.number(identifier, fields.varint()?)?,
            Kind::Text => {
                let text = Some(fields.text()?);
                match identifier {
                    0x03 => self.content_type = text,
                    0x08 => self.response_topic = text,
                    0x15 => self.auth_method = text,
                    _ => {}
                }
            }
            Kind::Binary => {
                let data = fields.binary()?;
                if identifier == 0x09 {
                    self.correlation = Some(data);
                }
            }
            Kind::Pair => self.user.push((fields.text()?, fields.text()?)),
        }
        Ok(())
    }

    fn flag(&mut self, identifier: u32, value: u8) -> Result<(), Wrong> {
        match (identifier, value) {
            (0x01, 0 | 1) => self.is_text = value == 1,
            (0x17, 0 | 1) => self.wants_no_reasons = value == 0,
            (_, 0 | 1) => {}
            _ => return Err(Wrong::Protocol("a property of 0 or 1 has another value")),
        }
        Ok(())
    }

    fn number(&mut self, identifier: u32, value: u32) -> Result<(), Wrong> {
        let is_zero = value == 0;
        let two = u16::try_from(value).unwrap_or(u16::MAX);
        match identifier {
            0x0b | 0x21 | 0x27 if is_zero => return Err(Wrong::Protocol("a property may not be 0")),
            0x02 => self.message_expiry = Some(value),
            0x0b => self.subscription = Some(value),
            0x11 => self.session_expiry = Some(value),
            0x18 => self.will_delay = value,
            0x21 => self.receive_max = Some(two),
            0x22 => self.topic_alias_max = two,
            0x23 => self.topic_alias = Some(two),
            0x27 => self.packet_max = Some(value),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(place: Place, bytes: &'static [u8]) -> Result<Properties, Wrong> {
        let length = u8::try_from(bytes.len()).unwrap();
        let mut fields = Fields::new([&[length], bytes].concat().into());
        Properties::read(&mut fields, place)
    }

    #[test]
    fn each_property_has_its_packets_and_stands_there_once() {
        let found = read(
            Place::Connect,
            b"\x11\x00\x00\x00\x3c\x21\x00\x14\x26\x00\x01a\x00\x01b\x26\x00\x01a\x00\x01c",
        );
        let found = found.unwrap();
        assert_eq!((found.session_expiry, found.receive_max), (Some(60), Some(20)));
        assert_eq!(found.user.len(), 2);
        for wrong in [
            &b"\x21\x00\x00"[..],
            b"\x21\x00\x01\x21\x00\x01",
            b"\x23\x00\x01",
            b"\x7f\x00",
            b"\x16\x00\x01x",
            b"\x17\x02",
            b"\x11\x00",
        ] {
            assert!(read(Place::Connect, wrong).is_err(), "{wrong:?}");
        }
    }
}
