//! Messages to events and back.
//!
//! Topic and user properties are tags. So are the other properties that receivers use, under keys
//! of their own, because tags reach receivers at every door: `mqtt_content_type`,
//! `mqtt_response_topic`, `mqtt_correlation` (base64), `mqtt_text=1` for payloads that are said to
//! be text, and `mqtt_expires`, the second since 1970 from which on nobody wants the message.
//! `mqtt_qos=0` stands on what was published with QoS 0, because it is delivered with no more
//! ([MQTT-3.8.4-8]). Messages of one topic keep their order among those of one QoS, as there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use millrace_client::TagSetRef;

use super::codec::{Code, Properties, Qos};
use crate::doors::naming::{Dialect, Mapping};
use crate::upstream::NewEvent;

const CONTENT_TYPE: &str = "mqtt_content_type";
const RESPONSE_TOPIC: &str = "mqtt_response_topic";
const CORRELATION: &str = "mqtt_correlation";
const TEXT: &str = "mqtt_text";
const EXPIRES: &str = "mqtt_expires";
const QOS: &str = "mqtt_qos";
/// The value of [`QOS`] that counts.
const AT_MOST_ONCE: &str = "0";

/// Why a message is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NoEvent {
    /// What the client is told.
    pub code: Code,
    /// The same in words.
    pub why: String,
}

impl NoEvent {
    pub(super) fn new(code: Code, why: impl ToString) -> Self {
        Self { code, why: why.to_string() }
    }
}

/// The event of a message that was published with `qos`; `stamped` are tags of the client's
/// identity.
///
/// # Errors
/// [`NoEvent`] says what to change.
pub fn event(
    mapping: &Mapping,
    topic: &str,
    qos: Qos,
    properties: &Properties,
    payload: Bytes,
    stamped: &[(String, String)],
    now: SystemTime,
) -> Result<NewEvent, NoEvent> {
    if !Dialect::Mqtt.is_name(topic) {
        let advice = "a topic here has no wildcards, no control characters, and 1 to 1,024 bytes";
        return Err(NoEvent::new(Code::TOPIC, advice));
    }
    let correlation = properties.correlation.as_ref().map(|data| BASE64.encode(data));
    let expires = properties.message_expiry.map(|expiry| (seconds(now) + u64::from(expiry)).to_string());
    let own = [
        (CONTENT_TYPE, properties.content_type.as_deref()),
        (RESPONSE_TOPIC, properties.response_topic.as_deref()),
        (CORRELATION, correlation.as_deref()),
        (TEXT, properties.is_text.then_some("1")),
        (EXPIRES, expires.as_deref()),
        (QOS, (qos == Qos::AtMostOnce).then_some(AT_MOST_ONCE)),
    ];
    let own = own.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
    let user = properties.user.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let besides: Vec<(&str, &str)> = user.chain(own).collect();
    let unfit = |error: &dyn ToString| {
        NoEvent::new(
            Code::IMPLEMENTATION,
            format!("topic and properties are tags here: {}", error.to_string()),
        )
    };
    let tags = mapping.tags(topic, &besides, stamped).map_err(|error| unfit(&error))?;
    NewEvent::new(tags, now, payload).map_err(|error| unfit(&error))
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// What a client is sent of an event, besides its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Topic name.
    pub topic: String,
    /// What it is delivered with at most.
    pub qos: Qos,
    /// Whether the payload is said to be text.
    pub is_text: bool,
    /// Seconds that are left of its time; nobody wants it at 0.
    pub expiry: Option<u32>,
    /// What the payload is.
    pub content_type: Option<&'a str>,
    /// Where answers are to go.
    pub response_topic: Option<&'a str>,
    /// What an answer is to carry.
    pub correlation: Option<Vec<u8>>,
    /// User properties.
    pub user: Vec<(&'a str, &'a str)>,
}

/// The message of an event's tags; `None` if they have no topic.
#[must_use]
pub fn message<'a>(mapping: &Mapping, tags: TagSetRef<'a>, now: SystemTime) -> Option<Message<'a>> {
    let named = mapping.named(tags)?;
    let mut message = Message {
        topic: named.name,
        qos: Qos::AtLeastOnce,
        is_text: false,
        expiry: None,
        content_type: None,
        response_topic: None,
        correlation: None,
        user: Vec::new(),
    };
    for (key, value) in named.besides {
        match key {
            CONTENT_TYPE => message.content_type = Some(value),
            RESPONSE_TOPIC if Dialect::Mqtt.is_name(value) => message.response_topic = Some(value),
            CORRELATION => message.correlation = BASE64.decode(value).ok(),
            EXPIRES => {
                let left = |expires: u64| expires.saturating_sub(seconds(now)).try_into().unwrap_or(u32::MAX);
                message.expiry = value.parse().ok().map(left);
            }
            QOS => {
                if value == AT_MOST_ONCE {
                    message.qos = Qos::AtMostOnce;
                }
            }
            TEXT => message.is_text = value == "1",
            _ => message.user.push((key, value)),
        }
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn mapping() -> Mapping {
        Mapping::new(Dialect::Mqtt, vec![])
    }

    #[test]
    fn what_a_message_says_comes_back() {
        let user = vec![("site".to_owned(), "berlin".to_owned()), ("unit".to_owned(), "C".to_owned())];
        let properties = Properties {
            is_text: true,
            message_expiry: Some(60),
            content_type: Some("text/plain".to_owned()),
            response_topic: Some("answers/1".to_owned()),
            correlation: Some(Bytes::from_static(&[0, 255, 7])),
            user,
            ..Properties::default()
        };
        let event = event(&mapping(), "a/b", Qos::AtMostOnce, &properties, "hi".into(), &[], NOW).unwrap();
        assert_eq!(
            event.tags.to_string(),
            "mqtt_content_type=text/plain,mqtt_correlation=AP8H,mqtt_expires=60,\
             mqtt_qos=0,mqtt_response_topic=answers/1,mqtt_text=1,site=berlin,topic=a/b,unit=C"
        );
        let mapping = mapping();
        let expiry = |later: u64| {
            message(&mapping, event.tags.borrow(), NOW + Duration::from_secs(later)).unwrap().expiry
        };
        assert_eq!([expiry(0), expiry(59), expiry(61)], [Some(60), Some(1), Some(0)]);
        let message = message(&mapping, event.tags.borrow(), NOW).unwrap();
        assert_eq!((message.topic.as_str(), message.is_text), ("a/b", true));
        assert_eq!((message.content_type, message.response_topic), (Some("text/plain"), Some("answers/1")));
        assert_eq!(message.correlation.as_deref(), Some(&[0, 255, 7][..]));
        assert_eq!(message.user, [("site", "berlin"), ("unit", "C")]);
        assert_eq!(message.qos, Qos::AtMostOnce);
    }

    #[test]
    fn only_what_was_published_with_qos_0_says_so() {
        let of = |qos| event(&mapping(), "a", qos, &Properties::default(), "".into(), &[], NOW).unwrap();
        for (qos, tags) in [(Qos::AtMostOnce, "mqtt_qos=0,topic=a"), (Qos::AtLeastOnce, "topic=a")] {
            let event = of(qos);
            assert_eq!(event.tags.to_string(), tags);
            assert_eq!(message(&mapping(), event.tags.borrow(), NOW).unwrap().qos, qos);
        }
    }

    #[test]
    fn what_no_tag_can_hold_is_told() {
        let no_event = |topic: &str, user: &[(&str, &str)]| {
            let user = user.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let properties = Properties { user, ..Properties::default() };
            event(&mapping(), topic, Qos::AtLeastOnce, &properties, Bytes::new(), &[], NOW).unwrap_err()
        };
        assert_eq!(no_event("a/+", &[]).code, Code::TOPIC);
        assert_eq!(no_event(&"x".repeat(1025), &[]).code, Code::TOPIC);
        for (user, part) in [
            (&[("a", "1"), ("a", "2")][..], "given twice"),
            (&[("a b", "1")], "tag key \"a b\""),
            (&[("millrace/x", "1")], "set by routers only"),
        ] {
            let refused = no_event("a", user);
            assert!(refused.code == Code::IMPLEMENTATION && refused.why.contains(part), "{refused}");
        }
    }
}
