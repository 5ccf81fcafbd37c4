//! A message to an event.

use std::time::SystemTime;

use bytes::Bytes;
use millrace_client::TagSet;
use millrace_proto::limits::{TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_PER_SET_MAX};

use super::message::Message;
use crate::upstream::{NewEvent, NewEventError};

/// Says that something of a message is not in its event.
const TRUNCATED: (&str, &str) = ("truncated", "1");

/// Tags while they are gathered: those that come first stay.
#[derive(Debug, Default)]
struct Tags {
    found: Vec<(String, String)>,
    is_truncated: bool,
}

impl Tags {
    /// Adds a tag; what no tag can be is left out, or cut.
    fn add(&mut self, key: &str, value: &str) {
        let is_key_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        let is_key = (1..=TAG_KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(is_key_byte);
        let is_new = self.found.iter().all(|(found, _)| found != key);
        // One place is for `truncated`.
        if !is_key || !is_new || self.found.len() + 1 >= TAGS_PER_SET_MAX {
            self.is_truncated = true;
            return;
        }
        let mut text: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if text.len() > TAG_VALUE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(TAG_VALUE_BYTES_MAX));
            self.is_truncated = true;
        }
        self.found.push((key.to_owned(), text));
    }
}

/// The event of a message. `stamped` are the tags of the client's identity, in place of the
/// message's; `is_cut`: the message was longer than a frame may be.
///
/// # Errors
/// [`NewEventError`], if an identity's tags leave no room.
pub fn event(
    message: &Message<'_>,
    stamped: &[(String, String)],
    is_cut: bool,
    now: SystemTime,
) -> Result<NewEvent, NewEventError> {
    let mut tags = Tags { found: stamped.to_vec(), is_truncated: is_cut };
    let own = [
        ("severity", Some(message.priority.severity())),
        ("facility", Some(message.priority.facility())),
        ("host", message.host.as_deref()),
        ("app", message.app.as_deref()),
        ("procid", message.procid.as_deref()),
        ("msgid", message.msgid.as_deref()),
    ];
    for (key, value) in own {
        if let Some(value) = value
            && stamped.iter().all(|(stamped, _)| stamped != key)
        {
            tags.add(key, value);
        }
    }
    for (element, name, value) in &message.data {
        let element = element.split('@').next().unwrap_or_default();
        tags.add(&format!("{element}.{name}"), value);
    }
    if tags.is_truncated && tags.found.iter().all(|(key, _)| key != TRUNCATED.0) {
        tags.found.push((TRUNCATED.0.to_owned(), TRUNCATED.1.to_owned()));
    }
    let set = TagSet::new(tags.found)?;
    NewEvent::new(set, message.time.unwrap_or(now), Bytes::copy_from_slice(message.text))
}

#[cfg(test)]
mod tests {
    use time::UtcOffset;

    use super::*;
    use crate::doors::syslog::read::read;

    fn tags(message: &str, stamped: &[(&str, &str)]) -> String {
        let stamped: Vec<(String, String)> =
            stamped.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let now = SystemTime::UNIX_EPOCH;
        let message = read(message.as_bytes(), UtcOffset::UTC, now);
        event(&message, &stamped, false, now).unwrap().tags.to_string()
    }

    #[test]
    fn a_message_becomes_tags() {
        assert_eq!(
            tags("<165>1 - web-1 raid 7 ID1 [disk@32473 slot=\"3\" serial=\"xy\"] degraded", &[]),
            "app=raid,disk.serial=xy,disk.slot=3,facility=local4,host=web-1,msgid=ID1,procid=7,severity=notice"
        );
        assert_eq!(tags("no priority", &[]), "facility=user,severity=notice");
        assert_eq!(
            tags("<14>Oct 11 22:14:15 liar app: x", &[("host", "web-1")]),
            "app=app,facility=user,host=web-1,severity=info"
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_shows() {
        let many: String = (0..40).map(|number| format!(" n{number}=\"v\"")).collect();
        let found = tags(&format!("<14>1 - - - - - [x{many}] text"), &[]);
        assert_eq!((found.split(',').count(), found.contains("truncated=1")), (TAGS_PER_SET_MAX, true));
        assert!(tags("<14>1 - - - - - [x a\u{7f}=\"b\"] t", &[]).contains("severity=info"));
        let long = format!("<14>1 - - - - - [x a=\"{}\"] t", "é".repeat(600));
        assert!(tags(&long, &[]).contains("truncated=1"));
        assert!(!tags("<14>1 - - - - - [x a=\"b\tc\"] t", &[]).contains('\t'));
    }
}
