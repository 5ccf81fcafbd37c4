//! What a link is told: which events cross, and what becomes of their tags.

use std::collections::BTreeMap;

use millrace_proto::tag::RESERVED_PREFIX;
use millrace_proto::{Selector, TagSet, TagSetRef};

use crate::rights::AllowList;

/// Clusters that a run may cross, unless the rule says otherwise.
pub const HOPS_DEFAULT: u8 = 4;

/// The rule of one link to another cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRule {
    /// Its name, for people.
    pub name: String,
    /// Which events cross it.
    pub select: AllowList,
    /// Whether the far cluster is asked to confirm every event, and not those alone whose
    /// publishers ask.
    pub confirms: bool,
    /// Clusters that a run may have crossed when it arrives, this one counted: 1 to 8.
    pub max_hops: u8,
    /// Bytes that are kept while the far cluster cannot be reached.
    pub spool_bytes: u64,
    /// Tags that each event gets, in place of its own of the same keys.
    pub set: BTreeMap<String, String>,
    /// Keys of tags that no event keeps.
    pub drop: Vec<String>,
    /// Whether only what the far cluster wants is sent.
    pub demand: bool,
    /// Whether its frames are packed (zstd), where the far router reads that.
    pub packs: bool,
}

impl LinkRule {
    /// The tags with which an event arrives in the far cluster, where they are not its own: without
    /// those that are to be dropped and those that routers set, and with those that are set.
    ///
    /// # Errors
    /// They are too many, or too long.
    pub fn rewrite(&self, tags: TagSetRef<'_>) -> Result<Option<TagSet>, millrace_proto::tag::TagError> {
        if self.set.is_empty() && !tags.iter().any(|(key, _)| self.drops(key)) {
            return Ok(None);
        }
        let kept = tags.iter().filter(|(key, _)| !self.drops(key) && !self.set.contains_key(*key));
        let set = self.set.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        TagSet::new(kept.chain(set)).map(Some)
    }

    fn drops(&self, key: &str) -> bool {
        key.starts_with(RESERVED_PREFIX) || self.drop.iter().any(|dropped| dropped == key)
    }

    /// A far selector as this side can use it: one that looks at tags which the link changes says
    /// nothing about the tags here, so that everything may meet it.
    pub(super) fn seen_from_here(&self, far: &Selector) -> Option<Selector> {
        let mut keys = far.requirements().map(|requirement| requirement.key);
        if keys.any(|key| self.drops(key) || self.set.contains_key(key)) {
            return None;
        }
        Some(far.without_payload())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(set: &[(&str, &str)], drop: &[&str]) -> LinkRule {
        LinkRule {
            name: "north".to_owned(),
            select: AllowList::read(&["*"]).unwrap(),
            confirms: false,
            max_hops: HOPS_DEFAULT,
            spool_bytes: 0,
            set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            drop: drop.iter().map(|key| (*key).to_owned()).collect(),
            demand: true,
            packs: false,
        }
    }

    fn rewritten(rule: &LinkRule, tags: &[(&str, &str)]) -> Option<String> {
        let tags = TagSet::new(tags.iter().copied()).unwrap();
        rule.rewrite(tags.borrow()).unwrap().map(|tags| tags.borrow().to_string())
    }

    #[test]
    fn tags_are_set_and_dropped_and_those_of_routers_stay_at_home() {
        let plain = rule(&[], &[]);
        assert_eq!(rewritten(&plain, &[("host", "a")]), None);
        assert_eq!(
            rewritten(&plain, &[("host", "a"), ("millrace/identity", "web")]).as_deref(),
            Some("host=a")
        );
        let other = rule(&[("site", "north"), ("env", "prod")], &["secret"]);
        assert_eq!(
            rewritten(&other, &[("env", "dev"), ("host", "a"), ("secret", "x")]).as_deref(),
            Some("env=prod,host=a,site=north")
        );
    }

    #[test]
    fn far_selectors_that_look_at_changed_tags_say_nothing() {
        let rule = rule(&[("site", "north")], &["secret"]);
        let seen = |text: &str| {
            let seen = rule.seen_from_here(&Selector::parse(text).unwrap());
            seen.map(|selector| selector.text().to_owned())
        };
        assert_eq!(seen("host=a,payload ~ /x/").as_deref(), Some("host=a"));
        assert_eq!(
            (seen("host=a,site=north"), seen("!secret"), seen("millrace/identity=x")),
            (None, None, None)
        );
        assert_eq!(seen("*").as_deref(), Some("*"));
    }
}
