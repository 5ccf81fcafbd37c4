//! Tag sets that nobody wants: what the router said, and which events are left out for it.

use millrace_proto::TagSet;
use millrace_proto::control::{Quench, Unquench};

use super::session::PublisherSession;
use super::store::Store;
use super::tags::Tags;
use crate::time::Time;

impl<S: Store> PublisherSession<S> {
    /// Nobody in the cluster wants events of these tag sets. Returns those that were wanted.
    pub fn on_quench(&mut self, said: &Quench) -> Vec<TagSet> {
        let now = self.turned;
        self.stream.as_mut().map(|stream| stream.quench(now, &said.tag_sets, said.read)).unwrap_or_default()
    }

    /// Somebody wants events of these tag sets. Returns those that were not wanted.
    pub fn on_unquench(&mut self, said: &Unquench) -> Vec<TagSet> {
        self.stream.as_mut().map(|stream| stream.unquench(&said.tag_sets)).unwrap_or_default()
    }

    /// Takes the tag sets that nobody wants: to be called before a stream is lost, because the next
    /// router has to say it anew.
    pub fn take_unwanted(&mut self) -> Vec<TagSet> {
        self.stream.as_mut().map(|stream| stream.unquench(&[])).unwrap_or_default()
    }

    /// Whether somebody may want events of these tags.
    #[must_use]
    pub fn is_wanted(&self, tags: Tags<'_>) -> bool {
        let unwanted =
            self.stream.as_ref().map(|stream| &stream.unwanted).filter(|unwanted| !unwanted.is_empty());
        !unwanted.zip(self.handles.set(tags)).is_some_and(|(unwanted, set)| unwanted.contains(set))
    }

    /// Whether an event that is published now may be left out: nobody wants it, and it is not the
    /// sample that is sent every 10 s all the same. To be asked once for each event, and not for one
    /// that names recipients or replies to a request. `now` is called for the time if it matters.
    #[inline]
    pub fn skips(&mut self, now: impl FnOnce() -> Time, tags: Tags<'_>) -> bool {
        let has_unwanted = self.stream.as_ref().is_some_and(|stream| !stream.unwanted.is_empty());
        has_unwanted && self.skips_set(now(), tags)
    }

    #[cold]
    fn skips_set(&mut self, now: Time, tags: Tags<'_>) -> bool {
        let set = self.handles.set(tags);
        self.stream.as_mut().zip(set).is_some_and(|(stream, set)| stream.unwanted.skips(now, set))
    }
}
