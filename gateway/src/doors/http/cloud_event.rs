//! Attributes of a CloudEvent become tags (CloudEvents 1.0, section 3).

use std::time::SystemTime;

use millrace_client::TagError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::upstream::NewEventError;

/// Attributes that every CloudEvent has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// Attributes whose tags begin with `ce_`, because their names say too little alone.
const PREFIXED: [&str; 6] = ["id", "source", "type", "subject", "datacontenttype", "dataschema"];
/// The one version that is read.
const VERSION: &str = "1.0";

/// What is wrong with a CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// An attribute that every CloudEvent has is missing or empty.
    #[error("attribute {0:?} is missing or empty")]
    Missing(&'static str),
    /// Another version.
    #[error("specversion {0:?} is not read here: send {VERSION:?}")]
    Version(String),
    /// A name that no attribute has.
    #[error("attribute {0:?}: names are 1 to 20 of a-z and 0-9")]
    Name(String),
    /// A time that cannot be read.
    #[error("time {0:?} is not RFC 3339")]
    Time(String),
    /// A value that is neither text, a number, nor a boolean.
    #[error("attribute {0:?} is neither text nor a number nor true or false")]
    Value(String),
    /// A header that is not text behind its percent signs.
    #[error("header ce-{0} is not UTF-8 behind its percent signs")]
    NotText(String),
    /// JSON that is no CloudEvent.
    #[error("not a CloudEvent in JSON: {0}")]
    Json(String),
    /// Both forms of a payload.
    #[error("data and data_base64 are both given: send one")]
    TwoPayloads,
    /// Base64 that cannot be read.
    #[error("data_base64 is not base64: {0}")]
    Base64(String),
    /// A tag that the attributes become is not allowed.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// No event can carry it.
    #[error(transparent)]
    Event(#[from] NewEventError),
}

/// Attributes while they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    given: Vec<(String, String)>,
}

impl Attributes {
    /// Adds an attribute.
    ///
    /// # Errors
    /// [`CloudEventError::Name`].
    pub fn add(&mut self, name: &str, value: String) -> Result<(), CloudEventError> {
        let is_name = (1..=20).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_name {
            return Err(CloudEventError::Name(name.chars().take(64).collect()));
        }
        self.given.push((name.to_owned(), value));
        Ok(())
    }

    /// The value of an attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Checks them, and makes tags of them; the time is `now` if they have none.
    ///
    /// # Errors
    /// [`CloudEventError`] names the attribute.
    pub fn into_tags(self, now: SystemTime) -> Result<(Vec<(String, String)>, SystemTime), CloudEventError> {
        for name in REQUIRED {
            if self.get(name).is_none_or(str::is_empty) {
                return Err(CloudEventError::Missing(name));
            }
        }
        let (mut tags, mut at) = (Vec::with_capacity(self.given.len()), now);
        for (name, value) in self.given {
            match name.as_str() {
                "specversion" if value == VERSION => {}
                "specversion" => return Err(CloudEventError::Version(value)),
                "time" => at = read_time(&value).ok_or(CloudEventError::Time(value))?,
                prefixed if PREFIXED.contains(&prefixed) => tags.push((format!("ce_{name}"), value)),
                _ => tags.push((name, value)),
            }
        }
        Ok((tags, at))
    }
}

fn read_time(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Attributes {
        let mut attributes = Attributes::default();
        for (name, value) in pairs {
            attributes.add(name, (*value).to_owned()).unwrap();
        }
        attributes
    }

    const LEAST: [(&str, &str); 4] =
        [("specversion", "1.0"), ("id", "1"), ("source", "/here"), ("type", "com.example.x")];

    #[test]
    fn attributes_become_tags_and_the_time() {
        let mut pairs = LEAST.to_vec();
        pairs.extend([("subject", "disk"), ("time", "2026-11-28T10:00:00.5+02:00"), ("traceparent", "00-1")]);
        let (tags, time) = attributes(&pairs).into_tags(SystemTime::now()).unwrap();
        let tags: Vec<(&str, &str)> =
            tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            tags,
            [
                ("ce_id", "1"),
                ("ce_source", "/here"),
                ("ce_type", "com.example.x"),
                ("ce_subject", "disk"),
                ("traceparent", "00-1")
            ]
        );
        assert_eq!(time, SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_852_800_500));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let now = SystemTime::UNIX_EPOCH;
        let with = |name, value| attributes(&[&LEAST[..], &[(name, value)]].concat()).into_tags(now);
        assert_eq!(with("time", "yesterday"), Err(CloudEventError::Time("yesterday".into())));
        assert_eq!(attributes(&LEAST[..3]).into_tags(now), Err(CloudEventError::Missing("type")));
        let mut old = LEAST;
        old[0].1 = "0.3";
        assert_eq!(attributes(&old).into_tags(now), Err(CloudEventError::Version("0.3".into())));
        for name in ["", "with_underscore", "UPPER", "a123456789012345678901"] {
            assert!(Attributes::default().add(name, String::new()).is_err(), "{name}");
        }
    }
}
