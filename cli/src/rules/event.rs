//! Events as lines of text: what `millrace sub --json` prints, or tags and payload.

use std::collections::BTreeMap;

use millrace_proto::TagSet;
use serde::Deserialize;

use crate::tags;

/// An event that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) tags: TagSet,
    pub(super) payload: Vec<u8>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    payload: Option<String>,
    payload_hex: Option<String>,
}

impl Event {
    /// Reads a line; none for an object that is no event, such as a gap.
    ///
    /// # Errors
    /// Why it is no event.
    pub(super) fn read(line: &[u8]) -> Result<Option<Self>, String> {
        if line.first() == Some(&b'{') {
            return Self::of_json(line);
        }
        let tab = line.iter().position(|&byte| byte == b'\t');
        let (tags, payload) = tab.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]));
        let text = std::str::from_utf8(tags).map_err(|_| "its tags are not UTF-8".to_owned())?;
        let texts = tags::split(text);
        let tags = TagSet::from_texts(texts.iter().filter(|text| !text.is_empty()))
            .map_err(|error| format!("{error}; a line is an object, or TAGS, a tab, and the payload"))?;
        Ok(Some(Self { tags, payload: payload.to_vec() }))
    }

    fn of_json(line: &[u8]) -> Result<Option<Self>, String> {
        let object: Object = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if object.kind.is_some_and(|kind| kind != "event") {
            return Ok(None);
        }
        let payload = match (object.payload, object.payload_hex) {
            (_, Some(hex)) => {
                bytes_of(&hex).ok_or_else(|| "its payload_hex is not hexadecimal".to_owned())?
            }
            (text, None) => text.unwrap_or_default().into_bytes(),
        };
        let tags = TagSet::new(&object.tags).map_err(|error| error.to_string())?;
        Ok(Some(Self { tags, payload }))
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        hex.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_objects_or_tags_and_payload() {
        let tags = TagSet::from_texts(["a=1", "b=x,y"]).unwrap_or_else(|error| panic!("{error}"));
        let event = |payload: &[u8]| Ok(Some(Event { tags: tags.clone(), payload: payload.to_vec() }));
        assert_eq!(Event::read(b"a=1,b=x\\,y\tone\ttwo"), event(b"one\ttwo"));
        assert_eq!(Event::read(b"a=1,b=x\\,y"), event(b""));
        let object =
            br#"{"schema":"millrace.sub/1","type":"event","tags":{"b":"x,y","a":"1"},"payload":"p","seq":3}"#;
        assert_eq!(Event::read(object), event(b"p"));
        assert_eq!(Event::read(br#"{"tags":{"b":"x,y","a":"1"},"payload_hex":"00fF"}"#), event(b"\x00\xff"));
        assert_eq!(Event::read(br#"{"type":"gap","reason":"joined"}"#), Ok(None));
        for wrong in [&b"a\tx"[..], b"{", br#"{"payload_hex":"0"}"#, br#"{"tags":{"a b":""}}"#, b"\xff\tx"] {
            assert!(Event::read(wrong).is_err());
        }
    }
}
