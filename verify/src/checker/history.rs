//! What was published, event by event: the side of the emitters.

use millrace_proto::{PublisherId, RouterId, TagSet};

use crate::workload::Words;

/// One published event. Times are in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRecord {
    /// When the publisher's program handed it over.
    pub published_at: u64,
    /// The router that it went to, as far as the publisher knew.
    pub entry: Option<RouterId>,
    /// When the publisher learned that the router has it. Without that it may be lost without
    /// anyone's fault.
    pub received_at: Option<u64>,
    /// It was written to a second router, or to one router again: then it has no entry, and no
    /// place in an order. Who has it is judged by its outcome.
    pub is_resent: bool,
    /// The publisher has left it out, because its router said that nobody wants it.
    pub left_out_by: Option<PublisherId>,
}

/// Everything that was published, by emitter.
#[derive(Debug, Clone)]
pub struct History {
    words: Words,
    emitters: Vec<Emitter>,
}

#[derive(Debug, Clone)]
struct Emitter {
    tags: TagSet,
    events: Vec<EventRecord>,
}

impl History {
    /// The history of emitters with these tag sets, before anything was published.
    #[must_use]
    pub fn new(words: Words, tag_sets: Vec<TagSet>) -> Self {
        let emitters: Vec<_> =
            tag_sets.into_iter().map(|tags| Emitter { tags, events: Vec::new() }).collect();
        Self { words, emitters }
    }

    /// The words that payloads carry.
    #[must_use]
    pub const fn words(&self) -> &Words {
        &self.words
    }

    /// Number of emitters.
    #[must_use]
    pub fn emitters(&self) -> u32 {
        u32::try_from(self.emitters.len()).expect("emitters are numbered by u32")
    }

    /// The tag set of an emitter that exists.
    #[must_use]
    pub fn tags(&self, emitter: u32) -> &TagSet {
        &self.emitters[emitter as usize].tags
    }

    /// The events of an emitter that exists, in order of their numbers.
    #[must_use]
    pub fn events(&self, emitter: u32) -> &[EventRecord] {
        &self.emitters[emitter as usize].events
    }

    /// The record of an event, if it was published.
    #[must_use]
    pub fn event(&self, emitter: u32, n: u64) -> Option<&EventRecord> {
        self.emitters.get(emitter as usize)?.events.get(usize::try_from(n).ok()?)
    }

    /// Number of events of all emitters.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.emitters.iter().map(|emitter| emitter.events.len() as u64).sum()
    }

    /// Notes that an emitter publishes its next event, and returns its number.
    pub fn publish(&mut self, emitter: u32, at: u64, entry: Option<RouterId>) -> u64 {
        let events = &mut self.emitters[emitter as usize].events;
        events.push(EventRecord {
            published_at: at,
            entry,
            received_at: None,
            is_resent: false,
            left_out_by: None,
        });
        events.len() as u64 - 1
    }

    /// Notes that an event is written again, to any router.
    pub fn resent(&mut self, emitter: u32, n: u64) {
        let events = self.emitters.get_mut(emitter as usize).map(|emitter| &mut emitter.events);
        let event = events.zip(usize::try_from(n).ok()).and_then(|(events, n)| events.get_mut(n));
        if let Some(event) = event {
            *event = EventRecord { entry: None, received_at: None, is_resent: true, ..*event };
        }
    }

    /// Notes that its publisher has left an event out.
    pub fn left_out(&mut self, emitter: u32, n: u64, publisher: PublisherId) {
        let events = self.emitters.get_mut(emitter as usize).map(|emitter| &mut emitter.events);
        let event = events.zip(usize::try_from(n).ok()).and_then(|(events, n)| events.get_mut(n));
        if let Some(event) = event {
            event.left_out_by = Some(publisher);
        }
    }

    /// Notes that `entry` has told the publisher that it has event `n`. Ignored for events that
    /// were not published.
    pub fn received(&mut self, emitter: u32, n: u64, entry: RouterId, at: u64) {
        let events = self.emitters.get_mut(emitter as usize).map(|emitter| &mut emitter.events);
        let event = events.zip(usize::try_from(n).ok()).and_then(|(events, n)| events.get_mut(n));
        if let Some(event) = event.filter(|event| !event.is_resent) {
            event.entry = Some(entry);
            event.received_at.get_or_insert(at);
        }
    }
}
