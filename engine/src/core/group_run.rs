//! A run that is kept for a group: until a member has acknowledged it, or nobody can.

use bytes::Bytes;
use millrace_proto::data::flag;
use millrace_proto::field::Fields;
use millrace_proto::run::{RunBody, RunBuilder};
use millrace_proto::{PublisherKey, TagSetRef};

use super::run::RunOut;
use crate::groups::Load;
use crate::ledger::{EntryId, Span};
use crate::routes::TagId;

/// What a run takes besides its bytes.
const OVERHEAD_BYTES: usize = 256;

/// A run that is kept for a group.
#[derive(Debug)]
pub(super) struct GroupRun {
    tag: TagId,
    /// Its tag set, what it asks, and its body unless that is in a buffer, one behind the other.
    bytes: Box<[u8]>,
    tags_end: usize,
    /// Behind what it asks, as the whole hop field 7; empty for a run that asks nothing.
    fields_end: usize,
    /// Its body, in a buffer of its own.
    buffer: Option<Bytes>,
    hash: u64,
    publisher: PublisherKey,
    pub(super) flags: u64,
    events: u64,
    /// The ledger's entry, while the group's copy is an open leg of it.
    pub(super) entry: Option<EntryId>,
}

impl GroupRun {
    /// Keeps a run whose tag set has this hash.
    pub(super) fn new(run: &RunOut<'_>, hash: u64) -> Self {
        let buffer = run.buffer.map(|buffer| buffer.slice_ref(run.body));
        let body = if buffer.is_none() { run.body } else { &[] };
        let tags = run.tags.canonical();
        Self {
            tag: run.tag,
            bytes: [tags, run.fields, body].concat().into(),
            tags_end: tags.len(),
            fields_end: tags.len() + run.fields.len(),
            buffer,
            hash,
            publisher: run.publisher,
            flags: run.flags,
            events: run.events,
            entry: run.entry,
        }
    }

    /// Its tag set.
    pub(super) fn tags(&self) -> TagSetRef<'_> {
        TagSetRef::trusted(&self.bytes[..self.tags_end])
    }

    fn body(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or(&self.bytes[self.fields_end..])
    }

    /// The copy for a member. The group answers for it, so that it has no level of its own.
    pub(super) fn copy(&self, maybe_duplicate: bool) -> RunOut<'_> {
        let doubt = if maybe_duplicate { flag::MAYBE_DUPLICATE } else { 0 };
        RunOut {
            tag: self.tag,
            number: None,
            tags: self.tags(),
            publisher: self.publisher,
            flags: self.flags & flag::RESENT | doubt,
            fields: &[],
            body: self.body(),
            buffer: self.buffer.as_ref(),
            events: self.events,
            from: None,
            entry: None,
            place: None,
        }
    }

    /// What it asks, as a hop field.
    pub(super) fn fields(&self) -> &[u8] {
        &self.bytes[self.tags_end..self.fields_end]
    }

    /// What it asks: the value of that field.
    pub(super) fn asked(&self) -> &[u8] {
        Fields::new(self.fields()).flatten().next().map_or(&[], |field| field.value)
    }

    /// Its events.
    pub(super) fn span(&self) -> Span {
        self.copy(false).span()
    }

    fn part(&self, body: &[u8], events: u64) -> Self {
        let bytes = [&self.bytes[..self.fields_end], body].concat().into();
        Self { bytes, buffer: None, events, ..*self }
    }
}

impl Load for GroupRun {
    fn events(&self) -> u64 {
        self.events
    }

    fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.fields_end + self.body().len()
    }

    fn key(&self) -> u64 {
        self.hash
    }

    fn split(self, events: u64) -> (Self, Self) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        // A body that was read before.
        if let Ok(body) = RunBody::parse_head(self.body()) {
            let at = usize::try_from(events).unwrap_or(usize::MAX);
            let (mut one, mut other) = (RunBuilder::default(), RunBuilder::default());
            for (index, event) in body.events().enumerate() {
                let builder = if index < at { &mut one } else { &mut other };
                if builder.count() == 0 {
                    builder.start(event.seq, body.floor(), body.base_time_ns());
                }
                builder.push(event.time_ns, event.payload);
            }
            one.finish(&mut first);
            other.finish(&mut second);
        }
        (self.part(&first, events), self.part(&second, self.events - events))
    }
}
