//! What the fuzz targets of the gateway's doors check, as plain functions: `cargo test -p
//! millrace-gateway` replays the committed corpus through the same code, and feeds it random bytes.
//!
//! None may panic on any input. What arrives in pieces must be read as if it had arrived whole.

#![allow(dead_code, reason = "each target uses one of them")]

use std::time::SystemTime;

use millrace_client::{Selector, TagSet};
use millrace_gateway::doors::http::{query::Query, structured};
use millrace_gateway::doors::mqtt::codec::{Decoder, Encoder, Outgoing, Packet, Qos, Version, Wrong};
use millrace_gateway::doors::mqtt::event as mqtt_event;
use millrace_gateway::doors::naming::{Dialect, Mapping, Template};
use millrace_gateway::doors::nats::envelope;
use millrace_gateway::doors::nats::parser::{Command, Message, ParseError, Parser};
use millrace_gateway::doors::syslog::event::event;
use millrace_gateway::doors::syslog::framing::{Frame, Framer};
use millrace_gateway::doors::syslog::read::read;
use millrace_gateway::doors::web::frames;
use time::UtcOffset;

/// What a target does with one input.
pub type Body = fn(&[u8]);

/// All targets, with the names of their corpus folders.
pub const TARGETS: [(&str, Body); 5] = [
    ("door_http", door_http),
    ("door_web", door_web),
    ("door_syslog", door_syslog),
    ("door_nats", door_nats),
    ("door_mqtt", door_mqtt),
];

/// A request's query string, and a body as a CloudEvent and as a batch.
pub fn door_http(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(query) = Query::parse(text)
    {
        // Whatever tags they are, they are allowed or refused.
        let _ = TagSet::from_texts(query.tags());
    }
    for member in structured::batch(bytes).unwrap_or_default() {
        cloud_event(member.get().as_bytes());
    }
    cloud_event(bytes);
}

fn cloud_event(json: &[u8]) {
    let Ok((attributes, _)) = structured::event(json) else { return };
    if let Ok((tags, _)) = attributes.into_tags(SystemTime::UNIX_EPOCH) {
        assert!(tags.iter().all(|(key, _)| !key.is_empty()), "{tags:?}");
    }
}

/// Lines of a WebSocket.
pub fn door_web(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for line in text.lines() {
        if let Ok(frames::Frame::Publish(publish)) = frames::read(line) {
            // It is an event, or a problem that says why not.
            let _ = publish.event(&[]);
        }
    }
}

/// A syslog stream, and each of its messages.
pub fn door_syslog(bytes: &[u8]) {
    let frames_of = |pieces: &[&[u8]]| {
        let (mut framer, mut frames) = (Framer::default(), Vec::new());
        let mut take = |frame: Frame<'_>| match frame {
            Frame::Message(message) => frames.push((message.to_vec(), false)),
            Frame::Cut(message) => frames.push((message.to_vec(), true)),
            Frame::Skipped => frames.push((Vec::new(), true)),
        };
        let read = pieces.iter().try_for_each(|piece| framer.read(piece, &mut take));
        framer.end(&mut take);
        (frames, read)
    };
    let whole = frames_of(&[bytes]);
    let middle = usize::from(bytes.first().copied().unwrap_or_default()) % (bytes.len() + 1);
    let (first, second) = bytes.split_at(middle);
    assert_eq!(frames_of(&[first, second]), whole, "cut at {middle}");
    for (message, is_cut) in whole.0 {
        let now = SystemTime::UNIX_EPOCH;
        let message = read(&message, UtcOffset::UTC, now);
        event(&message, &[], is_cut, now).expect("every message has an event");
    }
}

/// Commands of a NATS client, and what their subjects and payloads become.
pub fn door_nats(bytes: &[u8]) {
    nats_commands(bytes, false);
    nats_commands(bytes, true);
}

fn nats_commands(bytes: &[u8], is_admitted: bool) {
    // A command is gone with the next one: what it says is written out.
    let commands_of = |pieces: &[&[u8]]| {
        let (mut parser, mut commands) = (Parser::default(), Vec::new());
        if is_admitted {
            parser.admit();
        }
        for piece in pieces {
            parser.buffer().extend_from_slice(piece);
            loop {
                match parser.command() {
                    Ok(Some(command)) => {
                        commands.push(format!("{command:?}"));
                        nats_command(command);
                    }
                    Ok(None) => break,
                    Err(error) => return (commands, Err::<(), ParseError>(error)),
                }
            }
        }
        (commands, Ok(()))
    };
    let whole = commands_of(&[bytes]);
    let middle = usize::from(bytes.first().copied().unwrap_or_default()) % (bytes.len() + 1);
    let (first, second) = bytes.split_at(middle);
    assert_eq!(commands_of(&[first, second]), whole, "cut at {middle}");
}

fn nats_command(command: Command<'_>) {
    let dialect = Dialect::Nats;
    let template = Template::parse(dialect, "logs.{host}.{severity}", []).expect("it is right");
    let mapping = Mapping::new(dialect, vec![template]);
    match command {
        Command::Publish(Message { subject, reply, headers, payload }) if dialect.is_name(subject) => {
            let tags = mapping.tags(subject, &[], &[]).expect("a subject fits a tag");
            assert_eq!(mapping.name(tags.borrow()).as_deref(), Some(subject));
            let reply = reply.filter(|reply| dialect.is_name(reply));
            let block = headers.filter(|headers| envelope::is_header_block(headers));
            let sealed = envelope::seal(reply, block, payload);
            let opened = envelope::open(&sealed);
            assert_eq!((opened.reply, opened.payload), (reply, payload));
        }
        Command::Subscribe { subject, .. } if dialect.is_pattern(subject) => {
            for selector in mapping.selectors(subject) {
                Selector::parse(&selector).expect("the door writes selectors that can be read");
            }
        }
        _ => {}
    }
}

/// Packets of an MQTT client of each version, and what its topics and messages become.
pub fn door_mqtt(bytes: &[u8]) {
    for connect in
        [&b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c"[..], b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c", b""]
    {
        let whole = packets(&[connect, bytes]);
        let middle = usize::from(bytes.first().copied().unwrap_or_default()) % (bytes.len() + 1);
        let (first, second) = bytes.split_at(middle);
        assert_eq!(packets(&[connect, first, second]), whole, "cut at {middle}");
        whole.0.into_iter().for_each(mqtt_packet);
    }
}

fn packets(pieces: &[&[u8]]) -> (Vec<Packet>, Result<(), Wrong>) {
    let (mut decoder, mut packets) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(wrong) => return (packets, Err(wrong)),
            }
        }
    }
    (packets, Ok(()))
}

fn mqtt_packet(packet: Packet) {
    let dialect = Dialect::Mqtt;
    let template = Template::parse(dialect, "sensors/{room}/{kind}", []).expect("it is right");
    let mapping = Mapping::new(dialect, vec![template]);
    match packet {
        Packet::Publish(publish) => {
            let event = mqtt_event::event(
                &mapping,
                &publish.topic,
                if publish.packet.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce },
                &publish.properties,
                publish.payload,
                &[],
                SystemTime::UNIX_EPOCH,
            );
            let Ok(event) = event else { return };
            let message = mqtt_event::message(&mapping, event.tags.borrow(), SystemTime::UNIX_EPOCH)
                .expect("a topic comes back");
            assert_eq!(message.topic, publish.topic);
            sent_again(&message, &event.payload);
        }
        Packet::Subscribe { wishes, .. } => {
            for wish in wishes.iter().filter(|wish| dialect.is_pattern(&wish.filter)) {
                for selector in mapping.selectors(&wish.filter) {
                    Selector::parse(&selector).expect("the door writes selectors that can be read");
                }
            }
        }
        _ => {}
    }
}

/// What the door writes is what a client of the same packet would.
fn sent_again(message: &mqtt_event::Message<'_>, payload: &[u8]) {
    let outgoing = Outgoing {
        topic: &message.topic,
        topic_alias: None,
        packet: Some(7),
        is_again: false,
        payload,
        is_text: message.is_text,
        expiry: message.expiry,
        content_type: message.content_type,
        response_topic: message.response_topic,
        correlation: message.correlation.as_deref(),
        subscription: None,
        user: &message.user,
    };
    let mut encoder = Encoder::new(Version::V5, true);
    assert!(encoder.message(&outgoing, usize::MAX));
    let connect = b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c";
    let (read, end) = packets(&[connect, encoder.bytes()]);
    assert_eq!(end, Ok(()));
    let Some(Packet::Publish(read)) = read.into_iter().nth(1) else { panic!("it is no message") };
    assert_eq!((read.topic.as_str(), &*read.payload), (message.topic.as_str(), payload));
}
