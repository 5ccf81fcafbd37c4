//! Tag sets that nobody wants: what the router said, and which events are left out for it.

use millrace_proto::TagSet;
use millrace_proto::control::{Quench, Unquench};

use super::session::PublisherSession;
use super::store::Store;
use super::tags::Tags;
use crate::time::Time;

impl<S: Store> PublisherSession<S> {
    /// Nobody in the cluster wants events of these tag sets. Returns those that were wanted.
    pub(crate) fn on_quench(&mut self, said: &Quench) -> Vec<TagSet> {
        let now = self.turned;
        self.stream.as_mut().map(|stream| stream.quench(now, &said.tag_sets, said.read)).unwrap_or_default()
    }

    /// Somebody wants events of these tag sets. Returns those that were not wanted.
    pub(crate) fn on_unquench(&mut self, said: &Unquench) -> Vec<TagSet> {
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
    /// sample that is sent every 10 s all the same. To be asked once for each event, and not for
    /// one that names recipients or replies to a request. `now` is called for the time if it
    /// matters.
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

#[cfg(test)]
mod tests {
    use millrace_proto::control::TableCapacity;
    use millrace_proto::{Epoch, PublisherId, PublisherKey};

    use super::*;
    use crate::session::PublisherConfig;

    /// Publishes an event with this tag, and returns how many bytes it takes.
    fn publish(session: &mut PublisherSession, tag: &str) -> u64 {
        let set = TagSet::from_texts([tag]).unwrap();
        session.publish(Time::ZERO, &set, 0, b"x").unwrap();
        session.flush();
        session.take_output(Time::ZERO).map_or(0, |chunk| chunk.len() as u64)
    }

    fn wanted(session: &PublisherSession, tag: &str) -> bool {
        session.is_wanted(Tags::Set(&TagSet::from_texts([tag]).unwrap()))
    }

    #[test]
    fn a_number_means_the_set_that_the_router_had_read() {
        let key = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };
        let mut session = PublisherSession::new(PublisherConfig::new(key));
        session.stream_started(TableCapacity { tag_sets: 1, ..TableCapacity::CLIENT });
        session.on_credit(1 << 20);
        let read = publish(&mut session, "host=a");
        let quench = Quench { version: 1, tag_sets: vec![0, 5], read };
        assert_eq!(session.on_quench(&quench), [TagSet::from_texts(["host=a"]).unwrap()]);
        assert!(!wanted(&session, "host=a") && wanted(&session, "host=b"));
        assert!(session.skips(|| Time::ZERO, Tags::Set(&TagSet::from_texts(["host=a"]).unwrap())));
        // Another set takes the number, and with it the first one's place in the router's memory.
        while wanted(&session, "host=b") && !wanted(&session, "host=a") {
            publish(&mut session, "host=b");
        }
        assert!(wanted(&session, "host=a"));
        assert!(session.on_quench(&quench).is_empty(), "it was written before the router knew of the other");
        let all = Quench { read: u64::MAX >> 2, ..quench };
        assert_eq!(session.on_quench(&all).len(), 1);
        assert!(!wanted(&session, "host=b"));
        let unquench = Unquench { version: 2, tag_sets: vec![0], read };
        assert_eq!(session.on_unquench(&unquench).len(), 1);
        assert!(wanted(&session, "host=b"));
        session.on_quench(&all);
        assert_eq!(session.take_unwanted().len(), 1);
        assert!(wanted(&session, "host=b"), "the next router says it anew");
    }
}
