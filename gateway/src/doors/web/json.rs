//! An event as JSON: `{"id","time","tags","payload"}`, or `payload_base64` where the payload is no
//! text.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use millrace_client::{Gap, TagSet};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::upstream::Arrival;

#[derive(Serialize)]
struct EventJson<'a> {
    id: String,
    time: String,
    tags: Tags<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    maybe_duplicate: bool,
}

struct Tags<'a>(&'a TagSet);

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0.borrow().iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct GapJson<'a> {
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
}

/// An event as one JSON object on one line; made once for all readers of a feed.
pub fn event(arrival: &Arrival) -> &Bytes {
    arrival.json_or(|arrival| {
        let text = std::str::from_utf8(&arrival.payload).ok();
        let json = EventJson {
            id: arrival.id.to_string(),
            time: time(arrival.time),
            tags: Tags(&arrival.tags),
            payload: text,
            payload_base64: text.is_none().then(|| STANDARD.encode(&arrival.payload)),
            maybe_duplicate: arrival.maybe_duplicate,
        };
        // Maps with text keys and numbers always serialise.
        serde_json::to_vec(&json).unwrap_or_default().into()
    })
}

/// A gap as one JSON object: why, and how many events are missing, where that is known.
#[must_use]
pub fn gap(gap: &Gap) -> String {
    let json = GapJson { reason: gap.reason.name(), events: (gap.events > 0).then_some(gap.events) };
    serde_json::to_string(&json).unwrap_or_default()
}

/// RFC 3339, UTC; times that it cannot write are those of its ends.
fn time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ns = i128::try_from(since.as_nanos()).unwrap_or(i128::MAX);
    let date = OffsetDateTime::from_unix_timestamp_nanos(ns).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(payload: &[u8]) -> Value {
        let tags = TagSet::from_texts(["a=\"b\"", "c=d"]).unwrap();
        let arrival = Arrival::test(tags, 7, payload.to_vec());
        assert!(!event(&arrival).contains(&b'\n'));
        serde_json::from_slice(event(&arrival)).unwrap()
    }

    #[test]
    fn text_is_text_and_the_rest_is_base64() {
        let id = "00000000000000000000000000000000.0.7";
        assert_eq!(
            shown(b"hello\n"),
            json!({
                "id": id, "time": "1970-01-01T00:00:00Z", "tags": {"a": "\"b\"", "c": "d"}, "payload": "hello\n"
            })
        );
        assert_eq!(shown(b"\xff\x00")["payload_base64"], "/wA=");
    }
}
