//! What an event is published with: a tag set, or the handle of one that was registered.

use millrace_proto::{Shard, TagSet};

/// Tag sets that may be registered with one publisher: 1,048,576. Each keeps its canonical bytes.
pub const TAG_HANDLES_MAX: usize = 1 << 20;

/// A tag set that was registered: publishing with it hashes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagHandle {
    /// Its place among the publisher's handles.
    pub(super) index: u32,
    pub(super) shard: Shard,
}

impl TagHandle {
    /// The shard of the tag set.
    #[must_use]
    pub const fn shard(self) -> Shard {
        self.shard
    }
}

/// What an event is published with.
#[derive(Debug, Clone, Copy)]
pub enum Tags<'a> {
    /// A tag set.
    Set(&'a TagSet),
    /// A registered tag set.
    Handle(TagHandle),
}

impl Tags<'_> {
    /// The shard that the event belongs to. Hashes a set that is given by value.
    #[must_use]
    pub fn shard(self) -> Shard {
        match self {
            Self::Set(set) => set.shard(),
            Self::Handle(handle) => handle.shard,
        }
    }
}

impl<'a> From<&'a TagSet> for Tags<'a> {
    #[inline]
    fn from(tags: &'a TagSet) -> Self {
        Self::Set(tags)
    }
}

impl From<TagHandle> for Tags<'_> {
    #[inline]
    fn from(handle: TagHandle) -> Self {
        Self::Handle(handle)
    }
}

/// More tag sets were registered than [`TAG_HANDLES_MAX`]; publish the rest by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{TAG_HANDLES_MAX} tag sets are registered already: publish the others by value")]
pub struct HandlesExhausted;

/// The tag sets behind a publisher's handles.
#[derive(Debug, Default)]
pub(super) struct Handles(Vec<TagSet>);

impl Handles {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn register(&mut self, tags: &TagSet) -> Result<TagHandle, HandlesExhausted> {
        if self.0.len() >= TAG_HANDLES_MAX {
            return Err(HandlesExhausted);
        }
        let index = u32::try_from(self.0.len()).map_err(|_| HandlesExhausted)?;
        self.0.push(tags.clone());
        Ok(TagHandle { index, shard: tags.shard() })
    }

    #[inline]
    pub(super) fn get(&self, handle: TagHandle) -> Option<&TagSet> {
        self.0.get(handle.index as usize)
    }

    /// The set that `tags` names; `None` for a handle of another publisher.
    #[inline]
    pub(super) fn set<'a>(&'a self, tags: Tags<'a>) -> Option<&'a TagSet> {
        match tags {
            Tags::Set(set) => Some(set),
            Tags::Handle(handle) => self.get(handle),
        }
    }
}
