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
    tags: Box<[u8]>,
    hash: u64,
    publisher: PublisherKey,
    pub(super) flags: u64,
    body: Bytes,
    /// What it asks, as the whole hop field 7; empty for a run that asks nothing.
    fields: Box<[u8]>,
    events: u64,
    /// The ledger's entry, while the group's copy is an open leg of it.
    pub(super) entry: Option<EntryId>,
}

impl GroupRun {
    /// Keeps a run whose tag set has this hash.
    pub(super) fn new(run: &RunOut<'_>, hash: u64) -> Self {
        let body = match run.buffer {
            Some(buffer) => buffer.slice_ref(run.body),
            None => Bytes::copy_from_slice(run.body),
        };
        Self {
            tag: run.tag,
            tags: run.tags.canonical().into(),
            hash,
            publisher: run.publisher,
            flags: run.flags,
            body,
            fields: run.fields.into(),
            events: run.events,
            entry: run.entry,
        }
    }

    /// Its tag set.
    pub(super) fn tags(&self) -> TagSetRef<'_> {
        TagSetRef::trusted(&self.tags)
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
            body: &self.body,
            buffer: None,
            events: self.events,
            from: None,
            entry: None,
            place: None,
        }
    }

    /// What it asks, as a hop field.
    pub(super) fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// What it asks: the value of that field.
    pub(super) fn asked(&self) -> &[u8] {
        Fields::new(&self.fields).flatten().next().map_or(&[], |field| field.value)
    }

    /// Its events.
    pub(super) fn span(&self) -> Span {
        self.copy(false).span()
    }

    fn part(&self, body: Vec<u8>, events: u64) -> Self {
        Self { tags: self.tags.clone(), body: body.into(), fields: self.fields.clone(), events, ..*self }
    }
}

impl Load for GroupRun {
    fn events(&self) -> u64 {
        self.events
    }

    fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.tags.len() + self.fields.len() + self.body.len()
    }

    fn key(&self) -> u64 {
        self.hash
    }

    fn split(self, events: u64) -> (Self, Self) {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        // A body that was read before.
        if let Ok(body) = RunBody::parse_head(&self.body) {
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
        (self.part(first, events), self.part(second, self.events - events))
    }
}
