//! The tag sets of a publish stream, for who looks at them apart from runs.

use millrace_proto::PublisherId;

use super::publisher::PublishStream;
use crate::core::path::KnownTags;

impl PublishStream {
    /// The tag sets that have numbers.
    pub(super) fn tag_sets(&mut self) -> impl Iterator<Item = (u64, &mut KnownTags)> {
        self.reader.tag_sets()
    }

    /// The tag set of a number.
    pub(super) fn tag_set(&mut self, number: u64) -> Option<&mut KnownTags> {
        self.reader.tag_set(number)
    }

    /// How many times a tag set was given a number.
    pub(super) const fn definitions(&self) -> u64 {
        self.reader.definitions()
    }

    /// One of its publishers, which stands for all in what is told of them.
    pub(super) fn publisher(&self) -> Option<PublisherId> {
        self.reader.first_publisher()
    }
}
