//! What this core's sessions want: selectors, counted, so that control hears of first and last references only.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::Selector;

/// Reference counts of the selectors of this core's receivers.
#[derive(Debug, Default)]
pub(super) struct LocalInterest {
    /// Only looked up, never iterated.
    references: HashMap<Arc<Selector>, u32, ahash::RandomState>,
}

/// First and last references of one change.
#[derive(Debug, Default)]
pub(super) struct InterestChange {
    pub(super) add: Vec<Arc<Selector>>,
    pub(super) remove: Vec<Arc<Selector>>,
}

impl InterestChange {
    pub(super) fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

impl LocalInterest {
    pub(super) fn add(&mut self, selector: &Arc<Selector>, change: &mut InterestChange) {
        let count = self.references.entry(Arc::clone(selector)).or_insert(0);
        *count += 1;
        if *count == 1 {
            change.add.push(Arc::clone(selector));
        }
    }

    pub(super) fn remove(&mut self, selector: &Arc<Selector>, change: &mut InterestChange) {
        let Some(count) = self.references.get_mut(selector) else { return };
        *count -= 1;
        if *count == 0 {
            self.references.remove(selector);
            change.remove.push(Arc::clone(selector));
        }
    }
}
