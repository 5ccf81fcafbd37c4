//! What the agent says about the host on every event: the tag `fqdn`, exactly once, and the tags of
//! its settings.

use std::collections::BTreeMap;

use millrace_client::{TagError, TagSet};

use crate::upstream::{NewEvent, NewEventError};

/// The tag that names the host.
const FQDN: &str = "fqdn";

/// Why a host cannot say this of itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// A tag that events cannot have.
    #[error("identity: {0}")]
    Tag(#[from] TagError),
    /// The agent's own tag, or one of the routers.
    #[error("identity.tags: {key:?} cannot be set: {why}")]
    Reserved {
        /// The key.
        key: String,
        /// Whose it is.
        why: &'static str,
    },
}

/// Tags of every event of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    tags: Vec<(String, String)>,
}

impl Stamp {
    /// The stamp of a host.
    ///
    /// # Errors
    /// [`StampError`]: a tag is not allowed.
    pub fn new(fqdn: &str, further: &BTreeMap<String, String>) -> Result<Self, StampError> {
        let reserved = |key: &str, why| StampError::Reserved { key: key.to_owned(), why };
        if fqdn.is_empty() {
            return Err(reserved(FQDN, "identity.fqdn is empty, and names the host"));
        }
        if further.contains_key(FQDN) {
            return Err(reserved(FQDN, "identity.fqdn has it"));
        }
        let mut tags = vec![(FQDN.to_owned(), fqdn.to_owned())];
        tags.extend(further.iter().map(|(key, value)| (key.clone(), value.clone())));
        let set = TagSet::new(tags.iter().map(|(key, value)| (key, value)))?;
        match set.borrow().reserved_key() {
            Some(key) => Err(reserved(key, "routers set it")),
            None => Ok(Self { tags }),
        }
    }

    /// Its tags.
    #[must_use]
    pub fn tags(&self) -> &[(String, String)] {
        &self.tags
    }

    /// The host's name.
    #[must_use]
    pub fn fqdn(&self) -> &str {
        self.tags.first().map_or("", |(_, value)| value)
    }

    /// Sets its tags on an event, and says how many others stood under their keys.
    ///
    /// # Errors
    /// [`NewEventError`]: with these tags the event has too many.
    pub fn apply(&self, event: NewEvent) -> Result<(NewEvent, u64), NewEventError> {
        let own = |key: &str| self.tags.iter().find(|(stamped, _)| stamped == key);
        let mut replaced = 0;
        let mut tags: Vec<(&str, &str)> = Vec::with_capacity(self.tags.len() + 8);
        for (key, value) in &event.tags {
            match own(key) {
                None => tags.push((key, value)),
                Some((_, right)) => replaced += u64::from(right != value),
            }
        }
        tags.extend(self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let tags = TagSet::new(tags)?;
        Ok((NewEvent { tags, ..event }, replaced))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn stamped(texts: &[&str]) -> (String, u64) {
        let further = BTreeMap::from([("site".to_owned(), "ber".to_owned())]);
        let stamp = Stamp::new("web-1.example", &further).unwrap();
        let tags = TagSet::from_texts(texts).unwrap();
        let event = NewEvent::new(tags, SystemTime::UNIX_EPOCH, "x".into()).unwrap();
        let (event, replaced) = stamp.apply(event).unwrap();
        (event.tags.to_string(), replaced)
    }

    #[test]
    fn the_host_has_one_name_whatever_producers_say() {
        assert_eq!(stamped(&["a=b"]), ("a=b,fqdn=web-1.example,site=ber".to_owned(), 0));
        assert_eq!(stamped(&["fqdn=liar", "site=moon"]), ("fqdn=web-1.example,site=ber".to_owned(), 2));
        assert_eq!(stamped(&["fqdn=web-1.example"]), ("fqdn=web-1.example,site=ber".to_owned(), 0));
    }

    #[test]
    fn an_event_that_has_no_room_for_the_stamp_is_refused() {
        let full: Vec<String> = (0..32).map(|number| format!("k{number}=v")).collect();
        let stamp = Stamp::new("web-1", &BTreeMap::new()).unwrap();
        let event = NewEvent::new(TagSet::from_texts(&full).unwrap(), SystemTime::UNIX_EPOCH, "".into());
        assert!(stamp.apply(event.unwrap()).is_err());
    }
}
