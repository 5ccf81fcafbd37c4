//! One publish stream: its table of tag sets, what was encoded for it, and its credit.

use bytes::Bytes;
use millrace_proto::control::TableCapacity;
use millrace_proto::data::optional::StandbySet;
use millrace_proto::data::{self, HopHeader, PublisherOnStream, TagsOnStream};
use millrace_proto::stream::PublishPreamble;
use millrace_proto::table::{Naming, TableWriter};
use millrace_proto::{TagSet, varint};

use super::speaker::{NONE, Speaker};
use super::standby::SetStamp;
use super::store::StoredRun;
use super::tags::{Handles, Tags};
use super::unwanted::Unwanted;
use super::window::Outgoing;
use crate::time::Time;

/// The stream of one connection.
#[derive(Debug)]
pub(super) struct PublishStream {
    table: TableWriter<TagSet>,
    /// Bytes of the stream up to the end of the definition of each number.
    defined: Vec<u64>,
    pub(super) unwanted: Unwanted,
    /// The table has been full: hot numbers must be looked up so that it knows which are in use.
    full: bool,
    started: bool,
    /// Encoded, but beyond the credit so far.
    staged: Bytes,
    /// Bytes handed out since the start of the stream.
    written: u64,
    credit: u64,
}

impl PublishStream {
    pub(super) fn new(tables: TableCapacity) -> Self {
        Self {
            table: TableWriter::new(tables.tag_sets, tables.tag_bytes),
            defined: Vec::new(),
            unwanted: Unwanted::default(),
            full: false,
            started: false,
            staged: Bytes::new(),
            written: 0,
            credit: 0,
        }
    }

    pub(super) fn on_credit(&mut self, bytes: u64) {
        self.credit = self.credit.max(bytes);
    }

    /// Bytes that may be handed out.
    #[inline]
    pub(super) const fn room(&self) -> u64 {
        self.credit.saturating_sub(self.written)
    }

    #[inline]
    pub(super) const fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    pub(super) fn stage(&mut self, encoded: Vec<u8>) {
        self.staged = encoded.into();
    }

    /// As much of what is staged as credit allows.
    pub(super) fn take_staged(&mut self) -> Option<Bytes> {
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let chunk = self.staged.split_to(self.staged.len().min(room));
        self.written += chunk.len() as u64;
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Appends the frames of one run of `speaker`: definitions that it needs, then the run.
    #[inline]
    pub(super) fn encode(
        &mut self,
        out: &mut Vec<u8>,
        speaker: &mut Speaker,
        outgoing: &Outgoing<'_>,
        handles: &Handles,
    ) {
        if !self.started {
            self.started = true;
            PublishPreamble {}.encode(out);
        }
        speaker.introduce(out);
        // The publisher checked the handle when the event was queued.
        let Some(set) = handles.set(outgoing.run.tags) else { return };
        let naming = match outgoing.run.tags {
            Tags::Set(_) => self.name(set, NONE, speaker),
            Tags::Handle(handle) => match speaker.number_of(handle) {
                Some(number) if !self.full => Naming::Known(u64::from(number)),
                _ => self.name(set, handle.index, speaker),
            },
        };
        let number = match naming {
            Naming::Known(number) => Some(number),
            Naming::Define(number) => {
                data::put_define_tags(out, number, set.borrow());
                self.defined_at(number, self.written + out.len() as u64);
                Some(number)
            }
            Naming::Inline => None,
        };
        match (number, speaker.publisher()) {
            (Some(number), PublisherOnStream::Number(publisher))
                if outgoing.run.address.is_empty() && outgoing.set.is_none() =>
            {
                put_run(out, number, publisher, outgoing);
            }
            (number, publisher) => {
                let tags = number.map_or_else(|| TagsOnStream::Inline(set.borrow()), TagsOnStream::Number);
                put_long_run(out, tags, publisher, outgoing);
            }
        }
    }

    /// A number stands for a tag set from these bytes of the stream on.
    fn defined_at(&mut self, number: u64, bytes: u64) {
        self.unwanted.remove(number);
        let Ok(index) = usize::try_from(number) else { return };
        if index >= self.defined.len() {
            self.defined.resize(index + 1, 0);
        }
        self.defined[index] = bytes;
    }

    /// The router says that nobody wants the sets of these numbers, as they were defined in the
    /// first `read` bytes of the stream. Returns those that were wanted.
    pub(super) fn quench(&mut self, now: Time, numbers: &[u64], read: u64) -> Vec<TagSet> {
        let Self { table, defined, unwanted, .. } = self;
        let is_meant = |number: u64| {
            let at = usize::try_from(number).ok().and_then(|index| defined.get(index));
            at.is_some_and(|&at| at <= read)
        };
        let meant = numbers.iter().copied().filter(|&number| is_meant(number));
        let sets = meant.filter_map(|number| Some((number, table.key(number)?)));
        sets.filter(|&(number, set)| unwanted.add(now, number, set)).map(|(_, set)| set.clone()).collect()
    }

    /// The router says that somebody wants the sets of these numbers; none stand for all. Returns
    /// those that were not wanted.
    pub(super) fn unquench(&mut self, numbers: &[u64]) -> Vec<TagSet> {
        if numbers.is_empty() {
            return self.unwanted.take_all();
        }
        numbers.iter().filter_map(|&number| self.unwanted.remove(number)).collect()
    }

    fn name(&mut self, set: &TagSet, handle: u32, speaker: &mut Speaker) -> Naming {
        let known = self.table.len();
        let naming = self.table.name(set, set.canonical().len() as u64);
        let (Naming::Known(number) | Naming::Define(number)) = naming else {
            self.full = true;
            return naming;
        };
        if matches!(naming, Naming::Define(_)) {
            self.full |= self.table.len() == known;
            speaker.set_handle_of(number, handle);
        } else if handle != NONE {
            speaker.set_handle_of(number, handle);
        }
        naming
    }
}

/// Bytes of a run body's head.
#[inline]
fn head_bytes(Outgoing { run, floor, .. }: &Outgoing<'_>) -> usize {
    varint::size(run.first_seq)
        + varint::size(run.first_seq - floor)
        + varint::size(run.base_time_ns)
        + varint::size(u64::from(run.count))
}

/// Appends a run body.
#[inline]
fn put_body(out: &mut Vec<u8>, Outgoing { run, floor, .. }: &Outgoing<'_>) {
    let StoredRun { first_seq, base_time_ns, count, events, .. } = *run;
    varint::put(out, first_seq);
    varint::put(out, first_seq - floor);
    varint::put(out, base_time_ns);
    varint::put(out, u64::from(count));
    out.extend_from_slice(events);
}

/// Appends a run frame with numbers, its body written in place.
#[inline]
fn put_run(out: &mut Vec<u8>, tags: u64, publisher: u64, outgoing: &Outgoing<'_>) {
    let flags = outgoing.flags;
    let hop_bytes = varint::size(flags) + varint::size(tags) + varint::size(publisher);
    varint::put(out, data::kind::RUN);
    varint::put(out, (1 + hop_bytes + head_bytes(outgoing) + outgoing.run.events.len()) as u64);
    varint::put(out, hop_bytes as u64);
    varint::put(out, flags);
    varint::put(out, tags);
    varint::put(out, publisher);
    put_body(out, outgoing);
}

/// Appends a run frame that has something written in full, an address, or a set.
#[cold]
fn put_long_run(
    out: &mut Vec<u8>,
    tags: TagsOnStream<'_>,
    publisher: PublisherOnStream,
    outgoing: &Outgoing<'_>,
) {
    let mut fields = outgoing.run.address.to_vec();
    if let Some(SetStamp { set, generation, is_behind_hole }) = outgoing.set {
        let seqs = outgoing.run.source_seqs;
        StandbySet::with_encoded(set, generation, is_behind_hole, seqs).put_again(&mut fields);
    }
    let header = HopHeader { tags, publisher, flags: outgoing.flags, lane_seq: None, fields: &fields };
    let mut body = Vec::with_capacity(head_bytes(outgoing) + outgoing.run.events.len());
    put_body(&mut body, outgoing);
    data::put_run(out, &header, &body);
}
