//! Tags as a link rewrites them, remembered by tag set, because a tag set has many runs.

use hashbrown::HashMap;
use millrace_proto::TagSet;

use super::rule::LinkRule;

/// Tag sets that are remembered, at most; then all are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// What became of a tag set.
#[derive(Debug, Clone)]
enum Rewritten {
    Unchanged,
    Changed(TagSet),
    /// It has no place for the tags that are set.
    TooLarge,
}

/// The tag sets that a link has met.
#[derive(Debug, Default)]
pub(super) struct Rewriting(HashMap<TagSet, Rewritten, ahash::RandomState>);

impl Rewriting {
    /// The tags with which an event crosses; none where a set would have too many.
    pub(super) fn tags(&mut self, rule: &LinkRule, tags: TagSet) -> Option<TagSet> {
        let rewritten = match self.0.get(&tags) {
            Some(known) => known.clone(),
            None => {
                let rewritten = match rule.rewrite(tags.borrow()) {
                    Ok(None) => Rewritten::Unchanged,
                    Ok(Some(changed)) => Rewritten::Changed(changed),
                    Err(_) => Rewritten::TooLarge,
                };
                if self.0.len() == REMEMBERED_MAX {
                    self.0.clear();
                }
                self.0.insert(tags.clone(), rewritten.clone());
                rewritten
            }
        };
        match rewritten {
            Rewritten::Unchanged => Some(tags),
            Rewritten::Changed(changed) => Some(changed),
            Rewritten::TooLarge => None,
        }
    }
}
