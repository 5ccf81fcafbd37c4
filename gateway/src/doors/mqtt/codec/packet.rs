//! Packets that clients send (MQTT 5, section 3).

use bytes::Bytes;

use super::field::Fields;
use super::properties::{Place, Properties};
use super::reason::Code;
use super::wrong::Wrong;

/// Topic filters of one `SUBSCRIBE` or `UNSUBSCRIBE`; a packet of 1 MiB could name 350,000.
const FILTERS_MAX: usize = 1024;

/// The protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    V5,
}

/// How sure delivery is; this door delivers nothing with QoS 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// At most once.
    AtMostOnce,
    /// At least once: acknowledged.
    AtLeastOnce,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Its first packet.
    Connect(Box<Connect>),
    /// A message.
    Publish(Box<Publish>),
    /// It has a message of this number.
    PubAck(u16),
    /// It will not send a message of QoS 2 again.
    PubRel(u16),
    /// It wants messages.
    Subscribe {
        /// What the answer is to name.
        packet: u16,
        /// The client's number of these subscriptions.
        subscription: Option<u32>,
        /// Topic filters.
        wishes: Vec<Wish>,
    },
    /// It wants them no longer.
    Unsubscribe {
        /// What the answer is to name.
        packet: u16,
        /// Topic filters.
        filters: Vec<String>,
    },
    /// Is somebody there?
    Ping,
    /// It leaves.
    Disconnect {
        /// Whether its will is to be published.
        with_will: bool,
        /// Another time to keep the session for.
        session_expiry: Option<u32>,
    },
}

/// Who a client is and what it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version of all that follows.
    pub version: Version,
    /// Nothing of a session before counts.
    pub is_clean: bool,
    /// Seconds within which it says something; 0 for no bound.
    pub keep_alive: u16,
    /// Its name; empty if the server is to give one.
    pub client: String,
    /// What is published when it is lost.
    pub will: Option<Will>,
    /// User's name.
    pub user: Option<String>,
    /// Password, or token.
    pub password: Option<Bytes>,
    /// Properties.
    pub properties: Properties,
}

/// What is published when a client is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// 0 to 2.
    pub qos: u8,
    /// It is to be retained.
    pub retain: bool,
    /// Properties.
    pub properties: Properties,
}

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Topic name; empty if a topic alias says it.
    pub topic: String,
    /// Its number, for the acknowledgement; not with QoS 0.
    pub packet: Option<u16>,
    /// It has QoS 2, which MQTT 5 tells clients not to use and 3.1.1 has no words to.
    pub is_once: bool,
    /// It is to be retained.
    pub retain: bool,
    /// Payload.
    pub payload: Bytes,
    /// Properties.
    pub properties: Properties,
}

/// One topic filter of a `SUBSCRIBE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Topic filter, maybe of a shared subscription.
    pub filter: String,
    /// QoS at most; 2 is granted as 1.
    pub qos: Qos,
    /// Not what this client publishes itself.
    pub no_local: bool,
}

/// Reads a packet other than `CONNECT` from its first byte and its body.
pub(super) fn read(version: Version, first: u8, body: Bytes) -> Result<Packet, Wrong> {
    let (kind, flags) = (first >> 4, first & 0x0f);
    let mut fields = Fields::new(body);
    let has_right_flags = match kind {
        3 => true,
        6 | 8 | 10 => flags == 2,
        _ => flags == 0,
    };
    if !has_right_flags {
        return Err(Wrong::Malformed("the flags are not those of its kind"));
    }
    match kind {
        1 => Err(Wrong::Protocol("a second CONNECT")),
        3 => publish(version, flags, &mut fields),
        4 => acknowledged(version, &mut fields),
        5 | 7 => Err(Wrong::Protocol("no message of QoS 2 was sent")),
        6 => released(version, &mut fields),
        8 => subscribe(version, &mut fields),
        10 => unsubscribe(version, &mut fields),
        12 => Ok(Packet::Ping),
        14 => disconnect(version, &mut fields),
        15 if version == Version::V5 => Err(Wrong::Protocol("no authentication is under way")),
        _ => Err(Wrong::Malformed("clients send no packet of this kind")),
    }
}

fn properties(version: Version, fields: &mut Fields, place: Place) -> Result<Properties, Wrong> {
    match version {
        Version::V3 => Ok(Properties::default()),
        Version::V5 => Properties::read(fields, place),
    }
}

/// Reads the body of `CONNECT`.
pub(super) fn connect(body: Bytes) -> Result<Connect, Wrong> {
    let mut fields = Fields::new(body);
    let protocol = fields.text()?;
    let version = match (protocol.as_str(), fields.u8()?) {
        ("MQTT", 4) => Version::V3,
        ("MQTT", 5) => Version::V5,
        ("MQTT" | "MQIsdp", _) => return Err(Wrong::Version),
        _ => return Err(Wrong::Malformed("its protocol is not MQTT")),
    };
    let flags = fields.u8()?;
    let has = |bit: u8| flags & (1 << bit) != 0;
    let will_qos = (flags >> 3) & 0b11;
    let has_wrong_will = will_qos == 3 || (!has(2) && (will_qos != 0 || has(5)));
    if has(0) || has_wrong_will || (version == Version::V3 && has(6) && !has(7)) {
        return Err(Wrong::Malformed("flags of CONNECT contradict each other"));
    }
    let keep_alive = fields.u16()?;
    let own = properties(version, &mut fields, Place::Connect)?;
    let client = fields.text()?;
    let will = if has(2) {
        let properties = properties(version, &mut fields, Place::Will)?;
        let (topic, payload) = (fields.text()?, fields.binary()?);
        Some(Will { topic, payload, qos: will_qos, retain: has(5), properties })
    } else {
        None
    };
    let user = if has(7) { Some(fields.text()?) } else { None };
    let password = if has(6) { Some(fields.binary()?) } else { None };
    ended(&fields)?;
    Ok(Connect { version, is_clean: has(1), keep_alive, client, will, user, password, properties: own })
}

fn ended(fields: &Fields) -> Result<(), Wrong> {
    if fields.is_empty() { Ok(()) } else { Err(Wrong::Malformed("it does not end where it should")) }
}

fn packet_number(fields: &mut Fields) -> Result<u16, Wrong> {
    match fields.u16()? {
        0 => Err(Wrong::Protocol("a packet identifier is 0")),
        number => Ok(number),
    }
}

fn publish(version: Version, flags: u8, fields: &mut Fields) -> Result<Packet, Wrong> {
    let qos = (flags >> 1) & 0b11;
    let is_again = flags & 0b1000 != 0;
    match qos {
        0 if is_again => return Err(Wrong::Malformed("a message of QoS 0 is never sent again")),
        0 | 1 => {}
        2 if version == Version::V3 => {}
        2 => return Err(Wrong::Qos),
        _ => return Err(Wrong::Malformed("there is no QoS 3")),
    }
    let topic = fields.text()?;
    let packet = if qos == 0 { None } else { Some(packet_number(fields)?) };
    let properties = properties(version, fields, Place::Publish)?;
    if topic.is_empty() && properties.topic_alias.is_none() {
        return Err(Wrong::Protocol("a message without a topic"));
    }
    let (payload, retain, is_once) = (fields.rest(), flags & 1 != 0, qos == 2);
    Ok(Packet::Publish(Box::new(Publish { topic, packet, is_once, retain, payload, properties })))
}

/// `PUBACK`. What its reason says makes no difference: the client is done with the message.
fn acknowledged(version: Version, fields: &mut Fields) -> Result<Packet, Wrong> {
    let packet = packet_number(fields)?;
    if version == Version::V5 && !fields.is_empty() {
        fields.u8()?;
        if !fields.is_empty() {
            Properties::read(fields, Place::Ack)?;
        }
    }
    ended(fields)?;
    Ok(Packet::PubAck(packet))
}

/// `PUBREL`, which only 3.1.1 has a use for here.
fn released(version: Version, fields: &mut Fields) -> Result<Packet, Wrong> {
    if version == Version::V5 {
        return Err(Wrong::Qos);
    }
    let packet = packet_number(fields)?;
    ended(fields)?;
    Ok(Packet::PubRel(packet))
}

fn subscribe(version: Version, fields: &mut Fields) -> Result<Packet, Wrong> {
    let packet = packet_number(fields)?;
    let subscription = properties(version, fields, Place::Subscribe)?.subscription;
    let mut wishes = Vec::new();
    while !fields.is_empty() {
        let (filter, options) = (fields.text()?, fields.u8()?);
        let reserved = if version == Version::V5 { 0b1100_0000 } else { 0b1111_1100 };
        let retain_handling = (options >> 4) & 0b11;
        if options & reserved != 0 || options & 0b11 == 3 || (version == Version::V5 && retain_handling == 3)
        {
            return Err(Wrong::Malformed("options of a subscription that there are not"));
        }
        let no_local = options & 0b100 != 0;
        if no_local && filter.starts_with("$share/") {
            return Err(Wrong::Protocol("a shared subscription without what is local"));
        }
        let qos = if options & 0b11 == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
        wishes.push(Wish { filter, qos, no_local });
        bounded(wishes.len())?;
    }
    match wishes.len() {
        0 => Err(Wrong::Protocol("no topic filter")),
        _ => Ok(Packet::Subscribe { packet, subscription, wishes }),
    }
}

fn unsubscribe(version: Version, fields: &mut Fields) -> Result<Packet, Wrong> {
    let packet = packet_number(fields)?;
    properties(version, fields, Place::Unsubscribe)?;
    let mut filters = Vec::new();
    while !fields.is_empty() {
        filters.push(fields.text()?);
        bounded(filters.len())?;
    }
    match filters.len() {
        0 => Err(Wrong::Protocol("no topic filter")),
        _ => Ok(Packet::Unsubscribe { packet, filters }),
    }
}

const fn bounded(filters: usize) -> Result<(), Wrong> {
    if filters > FILTERS_MAX { Err(Wrong::TooLarge) } else { Ok(()) }
}

fn disconnect(version: Version, fields: &mut Fields) -> Result<Packet, Wrong> {
    let (mut code, mut session_expiry) = (Code::SUCCESS, None);
    if version == Version::V5 && !fields.is_empty() {
        code = Code(fields.u8()?);
        if !fields.is_empty() {
            session_expiry = Properties::read(fields, Place::Disconnect)?.session_expiry;
        }
    }
    ended(fields)?;
    // Every other reason is a fault that the client found.
    Ok(Packet::Disconnect { with_will: code != Code::SUCCESS, session_expiry })
}
