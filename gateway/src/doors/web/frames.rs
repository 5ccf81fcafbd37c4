//! The WebSocket protocol `millrace.v1`: each message has one or more JSON objects, one a line.
//!
//! A client sends
//!
//! ```text
//! {"op":"subscribe","sub":"a","select":["service=web","disk"]}
//! {"op":"subscribe","sub":"b","select":["raid"],"cursor":…}
//! {"op":"unsubscribe","sub":"a"}
//! {"op":"publish","ref":"1","tags":{"service":"web"},"payload":"hello","level":"routed"}
//! ```
//!
//! and gets
//!
//! ```text
//! {"op":"subscribed","sub":"a"}
//! {"op":"event","sub":"a","cursor":…,"id":…,"time":…,"tags":{…},"payload":…}
//! {"op":"gap","sub":"a","reason":"overflow","events":3}
//! {"op":"published","ref":"1","id":…,"outcome":"confirmed","receivers":2}
//! {"op":"error","ref":"1","error":"malformed","message":…}
//! ```
//!
//! `sub` and `ref` are the client's own names, at most 64 bytes. `payload_base64` is for payloads
//! that are no text, in both directions. An error of one frame changes nothing for others.
//!
//! Where routers keep history, an event has a `cursor` of at most 128 bytes. A client that shows it
//! when it subscribes again, on whatever connection to whatever gateway, gets what it has missed
//! since then, and then what is new. Without history, or with something that is no cursor, it gets
//! one gap first.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use millrace_client::{Gap, TagSet};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::json;
use crate::doors::http::answer::{self, Problem};
use crate::upstream::{Arrival, Level, NewEvent, Published};

/// Bytes of a name that a client gives.
pub const NAME_BYTES_MAX: usize = 64;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Frame {
    /// Events that match any of the selectors are wanted.
    Subscribe {
        /// The client's name of the subscription.
        sub: String,
        /// The selectors.
        select: Vec<String>,
        /// The cursor of the last event that the client has, or its id where it had none.
        #[serde(default)]
        cursor: Option<String>,
    },
    /// They are not any more.
    Unsubscribe {
        /// The subscription.
        sub: String,
    },
    /// An event.
    Publish(Publish),
}

/// An event that a client publishes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The client's name of this frame, for the answer; without one there is none but errors.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The payload, if it is text.
    #[serde(default)]
    pub payload: Option<String>,
    /// The payload, if it is not.
    #[serde(default)]
    pub payload_base64: Option<String>,
    /// The level; default `routed`.
    #[serde(default)]
    pub level: Option<String>,
    /// When it happened, RFC 3339; default now.
    #[serde(default)]
    pub time: Option<String>,
}

/// What a line comes to.
///
/// # Errors
/// A [`Problem`] that says what is wrong with it.
pub fn read(line: &str) -> Result<Frame, Problem> {
    let frame: Frame = serde_json::from_str(line)
        .map_err(|error| Problem::malformed(format!("not a frame of millrace.v1: {error}")))?;
    let name = match &frame {
        Frame::Subscribe { sub, .. } | Frame::Unsubscribe { sub } => Some(sub),
        Frame::Publish(publish) => publish.reference.as_ref(),
    };
    if name.is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        return Err(Problem::malformed(format!("sub and ref have at most {NAME_BYTES_MAX} bytes")));
    }
    Ok(frame)
}

impl Publish {
    /// The event, with an identity's own tags, and the level.
    ///
    /// # Errors
    /// A [`Problem`] that says what is wrong with it.
    pub fn event(mut self, stamped: &[(String, String)]) -> Result<(NewEvent, Level), Problem> {
        let level = self.level.as_deref().map_or(Some(Level::default()), Level::named);
        let level = level.ok_or_else(|| Problem::malformed("levels are none, routed and delivered"))?;
        let payload = match (self.payload, self.payload_base64) {
            (Some(_), Some(_)) => {
                return Err(Problem::malformed("payload and payload_base64 are both given: send one"));
            }
            (Some(text), None) => Bytes::from(text),
            (None, Some(base64)) => STANDARD
                .decode(base64)
                .map(Bytes::from)
                .map_err(|error| Problem::malformed(format!("payload_base64: {error}")))?,
            (None, None) => Bytes::new(),
        };
        let time = match self.time.as_deref() {
            None => SystemTime::now(),
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                .map(SystemTime::from)
                .map_err(|_| Problem::malformed(format!("time {text:?} is not RFC 3339")))?,
        };
        self.tags.extend(stamped.iter().cloned());
        let tags = TagSet::new(&self.tags).map_err(Problem::malformed)?;
        Ok((NewEvent::new(tags, time, payload).map_err(Problem::malformed)?, level))
    }
}

/// The line of an event.
pub fn event(line: &mut Vec<u8>, sub: &str, arrival: &Arrival) {
    begin(line, "event", sub);
    if let Some(place) = arrival.place() {
        line.extend_from_slice(format!("\"cursor\":\"{place}\",").as_bytes());
    }
    // Behind the brace that opens it.
    line.extend_from_slice(json::event(arrival).get(1..).unwrap_or_default());
    line.push(b'\n');
}

/// The line of a gap.
pub fn gap(line: &mut Vec<u8>, sub: &str, gap: &Gap) {
    begin(line, "gap", sub);
    line.extend_from_slice(json::gap(gap).get(1..).unwrap_or_default().as_bytes());
    line.push(b'\n');
}

fn begin(line: &mut Vec<u8>, op: &str, sub: &str) {
    line.extend_from_slice(format!("{{\"op\":\"{op}\",\"sub\":{},", Value::from(sub)).as_bytes());
}

/// The line that says that a subscription is effective, or ended.
#[must_use]
pub fn about(op: &str, sub: &str) -> String {
    format!("{}\n", json!({ "op": op, "sub": sub }))
}

/// The line that says what became of an event.
#[must_use]
pub fn published(reference: &str, published: &Published) -> String {
    let mut line = answer::outcome(published);
    line["op"] = "published".into();
    line["ref"] = reference.into();
    format!("{line}\n")
}

/// The line of a problem with a frame; `name` and `value` say which frame.
#[must_use]
pub fn error(name: Option<(&str, &str)>, problem: &Problem) -> String {
    let mut line = json!({ "op": "error", "error": problem.name(), "message": problem.message() });
    if let Some((name, value)) = name {
        line[name] = value.into();
    }
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_and_others_are_refused() {
        let frame = read(r#"{"op":"subscribe","sub":"a","select":["x=y"]}"#).unwrap();
        assert_eq!(frame, Frame::Subscribe { sub: "a".into(), select: vec!["x=y".into()], cursor: None });
        for wrong in ["", "[]", r#"{"op":"fly"}"#, r#"{"op":"unsubscribe"}"#, r#"{"op":"publish","tag":{}}"#]
        {
            assert_eq!(read(wrong).unwrap_err().name(), "malformed", "{wrong}");
        }
        let long = format!(r#"{{"op":"unsubscribe","sub":"{}"}}"#, "x".repeat(65));
        assert!(read(&long).is_err());
    }

    #[test]
    fn an_identity_s_tags_replace_those_of_the_client() {
        let Ok(Frame::Publish(publish)) =
            read(r#"{"op":"publish","tags":{"site":"x","a":"b"},"payload":"p","level":"none"}"#)
        else {
            panic!("no frame")
        };
        let (event, level) = publish.event(&[("site".to_owned(), "berlin".to_owned())]).unwrap();
        assert_eq!(event.tags, TagSet::from_texts(["a=b", "site=berlin"]).unwrap());
        assert_eq!((level, &event.payload[..]), (Level::None, &b"p"[..]));
    }

    #[test]
    fn lines_are_json_that_names_its_subscription() {
        let arrival = Arrival::test(TagSet::from_texts(["a=b"]).unwrap(), 1, b"x".to_vec());
        let mut line = Vec::new();
        event(&mut line, "my \"sub\"", &arrival);
        let read: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (&read["op"], &read["sub"], &read["payload"]),
            (&json!("event"), &json!("my \"sub\""), &json!("x"))
        );
    }
}
