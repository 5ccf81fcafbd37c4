//! CloudEvents in JSON: one, or a batch (CloudEvents JSON format, sections 3 and 4).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::cloud_event::{Attributes, CloudEventError};

/// Events in a batch.
pub const BATCH_EVENTS_MAX: usize = 1000;

/// Why a batch is refused, whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is not a list.
    #[error("not a batch of CloudEvents in JSON: {0}")]
    Json(String),
    /// It is too long.
    #[error("{count} events: a batch has at most {BATCH_EVENTS_MAX}")]
    TooMany {
        /// How many there were.
        count: usize,
    },
}

/// The members of a batch, each still to be read.
///
/// # Errors
/// [`BatchError`].
pub fn batch(body: &[u8]) -> Result<Vec<&RawValue>, BatchError> {
    let events: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|error| BatchError::Json(error.to_string()))?;
    if events.len() > BATCH_EVENTS_MAX {
        return Err(BatchError::TooMany { count: events.len() });
    }
    Ok(events)
}

/// The members of an object, each once: of two with one name somebody would lose one.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collecting)
    }
}

struct Collecting;

impl<'de> Visitor<'de> for Collecting {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value()?;
            if members.contains_key(&name) {
                let name: String = name.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("{name:?} is given twice")));
            }
            members.insert(name, value);
        }
        Ok(Members(members))
    }
}

/// Reads one CloudEvent: its attributes and its payload.
///
/// # Errors
/// [`CloudEventError`] names the attribute.
pub fn event(json: &[u8]) -> Result<(Attributes, Bytes), CloudEventError> {
    let Members(members) =
        serde_json::from_slice(json).map_err(|error| CloudEventError::Json(error.to_string()))?;
    let mut attributes = Attributes::default();
    let (mut data, mut data_base64) = (None, None);
    for (name, value) in members {
        match name.as_str() {
            // `null` is as good as absent (section 2.2).
            _ if value.get() == "null" => {}
            "data" => data = Some(value),
            "data_base64" => data_base64 = Some(value),
            name => attributes.add(name, attribute(name, value)?)?,
        }
    }
    let payload = match (data, data_base64) {
        (Some(_), Some(_)) => return Err(CloudEventError::TwoPayloads),
        (Some(data), None) => payload(data, attributes.get("datacontenttype")),
        (None, Some(base64)) => decode(base64)?,
        (None, None) => Bytes::new(),
    };
    Ok((attributes, payload))
}

fn attribute(name: &str, value: &RawValue) -> Result<String, CloudEventError> {
    match serde_json::from_str(value.get()) {
        Ok(Value::String(text)) => Ok(text),
        // As it is written: a large number stays exact.
        Ok(Value::Number(_) | Value::Bool(_)) => Ok(value.get().to_owned()),
        _ => Err(CloudEventError::Value(name.to_owned())),
    }
}

/// The payload that `data` stands for: text itself, where the content type is not JSON, else the
/// JSON as it is written (section 3.1.1).
fn payload(data: &RawValue, content_type: Option<&str>) -> Bytes {
    let text = || serde_json::from_str::<String>(data.get()).ok();
    match content_type.is_some_and(|media| !is_json(media)).then(text).flatten() {
        Some(text) => text.into(),
        None => Bytes::copy_from_slice(data.get().as_bytes()),
    }
}

fn is_json(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = media.rsplit_once('/').map_or("", |(_, subtype)| subtype);
    subtype == "json" || subtype.ends_with("+json")
}

fn decode(value: &RawValue) -> Result<Bytes, CloudEventError> {
    let text: String = serde_json::from_str(value.get())
        .map_err(|_| CloudEventError::Base64("it is not a text".to_owned()))?;
    STANDARD.decode(text).map(Bytes::from).map_err(|error| CloudEventError::Base64(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload_of(members: &str) -> Bytes {
        event(format!("{{{members}}}").as_bytes()).unwrap().1
    }

    #[test]
    fn data_is_text_json_or_base64() {
        assert_eq!(payload_of(r#""data": {"a": 1.50}"#), r#"{"a": 1.50}"#);
        assert_eq!(payload_of(r#""data": "text""#), r#""text""#);
        assert_eq!(payload_of(r#""datacontenttype":"application/vnd.x+json","data": "text""#), r#""text""#);
        assert_eq!(payload_of(r#""datacontenttype":"text/plain","data": "a\nb""#), "a\nb");
        assert_eq!(payload_of(r#""datacontenttype":"text/plain","data": [1]"#), "[1]");
        assert_eq!(payload_of(r#""data_base64":"/wA=""#), &[0xff, 0][..]);
        assert_eq!(payload_of(r#""data":null"#), "");
        assert_eq!(event(br#"{"data":1,"data_base64":"AA=="}"#), Err(CloudEventError::TwoPayloads));
        assert!(matches!(event(br#"{"data_base64":"?"}"#), Err(CloudEventError::Base64(_))));
    }

    #[test]
    fn extensions_are_text_numbers_or_booleans() {
        let (attributes, _) =
            event(br#"{"n": 18014398509481985, "b": true, "s": "x", "gone": null}"#).unwrap();
        assert_eq!(attributes.get("n"), Some("18014398509481985"));
        assert_eq!((attributes.get("b"), attributes.get("gone")), (Some("true"), None));
        assert_eq!(event(br#"{"o": {}}"#), Err(CloudEventError::Value("o".into())));
        assert!(matches!(event(b"[1]"), Err(CloudEventError::Json(_))));
        for twice in [&br#"{"id":"1","id":"2"}"#[..], br#"{"data":1,"data":2}"#, br#"{"x":null,"x":1}"#] {
            let refused = event(twice).unwrap_err().to_string();
            assert!(refused.contains("is given twice"), "{refused}");
        }
    }

    #[test]
    fn a_batch_keeps_all_its_events() {
        assert_eq!(batch(br#"[{"a":1}, 7]"#).unwrap().len(), 2);
        assert!(matches!(batch(b"{}"), Err(BatchError::Json(_))));
        let long = format!("[{}0]", "0,".repeat(BATCH_EVENTS_MAX));
        assert_eq!(batch(long.as_bytes()).unwrap_err(), BatchError::TooMany { count: BATCH_EVENTS_MAX + 1 });
    }
}
