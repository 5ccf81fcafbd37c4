//! Reads runs of one source from files, as a ring is read: a chunk for each request.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_proto::data::{GapReason, Source};

use super::archive::Archive;
use super::format::{RECORD_HEAD_BYTES, runs_of};
use super::index::Entry;
use super::recovery::name_of;
use super::storage::Storage;
use crate::history::read::matches;
use crate::history::{Ask, Block, Chunk, Found, HistoryAsk, KeptRun, ReadBudget, Span, Which};
use crate::routes::TagId;

/// Work that one request may take: some milliseconds, which delay nobody but those who ask files.
const STEPS: usize = 1 << 16;
/// Bytes of one chunk, about.
const CHUNK_BYTES: usize = 32 * 1024;
/// Blocks that are read for one request.
const BLOCKS: usize = 32;
/// Blocks that are kept behind a read: replays that go on find theirs, up to 4 MiB together.
const CACHED: usize = 16;

/// The tag sets of a chunk, whose runs come from several blocks.
#[derive(Debug, Default)]
struct Names(HashMap<Vec<u8>, u32, ahash::RandomState>);

impl Names {
    fn of(&mut self, run: &KeptRun<'_>) -> TagId {
        let canonical = run.tags.canonical();
        if let Some(&known) = self.0.get(canonical) {
            return TagId::numbered(known);
        }
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(canonical.to_vec(), next);
        TagId::numbered(next)
    }
}

impl<S: Storage> Archive<S> {
    /// Answers a request for a source of which files have runs.
    #[must_use]
    pub fn find(&mut self, ask: &HistoryAsk) -> Found {
        let Some(owner) = self.index.owner(&ask.owner).filter(|owner| !owner.blocks.is_empty()) else {
            return Found::Lost(GapReason::Evicted);
        };
        let oldest = owner.oldest().unwrap_or(0);
        let end = owner.blocks.back().map_or(0, |last| last.head.next);
        let (from, to) = match ask.ask {
            // What was there when the replay began, and is gone with its block.
            Ask::On { from, to } if from >= end && to > end => {
                let span = Span { from: end, to, oldest, is_cut: false };
                let chunk = Chunk { next: to, is_cut: true, ..Chunk::default() };
                return Found::Read { span: Some(span), chunk, pasts: Box::default() };
            }
            Ask::On { from, to } => (from, to.min(end)),
            Ask::Pin(_) => (oldest, end),
        };
        let span = Span { from: from.clamp(oldest, end), to, oldest, is_cut: false };
        // Which run of a tag set is its newest one, files do not know.
        if ask.which == Which::Newest {
            let chunk = Chunk { next: to.max(from), ..Chunk::default() };
            return Found::Read { span: Some(span), chunk, pasts: Box::default() };
        }
        let begin = from.max(oldest);
        let chunk = Chunk { next: begin, is_cut: begin > from && from < to, ..Chunk::default() };
        let chunk = self.read_on(ask, chunk, to);
        Found::Read { span: Some(span), chunk, pasts: Box::default() }
    }

    /// Reads on from where a chunk ends.
    fn read_on(&mut self, ask: &HistoryAsk, mut chunk: Chunk, to: u64) -> Chunk {
        let (mut names, mut blocks) = (Names::default(), 0);
        let mut budget = ReadBudget { steps: STEPS, bytes: CHUNK_BYTES };
        while chunk.next < to {
            let Some((at, entry)) = self.entry(&ask.owner, chunk.next) else {
                chunk.next = to;
                break;
            };
            // What was not written, or cannot be read.
            chunk.is_cut |= entry.head.first > chunk.next;
            if entry.head.arrived.1 < ask.not_before {
                chunk.next = entry.head.next.min(to);
                continue;
            }
            if budget.is_spent() || blocks == BLOCKS {
                return chunk;
            }
            blocks += 1;
            let Some(block) = self.block(&entry) else {
                self.index.drop_block(&ask.owner, at);
                chunk.is_cut = true;
                chunk.next = entry.head.next.min(to);
                continue;
            };
            if !take(&block, ask, &mut chunk, to, (&mut names, &mut budget)) {
                return chunk;
            }
            chunk.next = entry.head.next.min(to);
        }
        chunk
    }

    /// The first block of a source that ends behind a position.
    fn entry(&self, source: &Source, position: u64) -> Option<(usize, Entry)> {
        let blocks = &self.index.owner(source)?.blocks;
        let at = blocks.partition_point(|entry| entry.head.next <= position);
        Some((at, *blocks.get(at)?))
    }

    /// Reads a block; `None` when it is damaged.
    fn block(&mut self, entry: &Entry) -> Option<Arc<Block>> {
        let key = (entry.segment, entry.at);
        if let Some((_, block)) = self.read.iter().find(|(known, _)| *known == key) {
            return Some(Arc::clone(block));
        }
        let at = entry.at + RECORD_HEAD_BYTES as u64;
        let body = self.storage.read(&name_of(entry.segment), at, entry.head.body_bytes as usize);
        let block = match body {
            Ok(body) if !entry.head.has_body(&body) => Err("is damaged".to_owned()),
            Ok(body) => runs_of(&entry.head, &body)
                .ok_or_else(|| "has runs that this version does not read".to_owned()),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        match block {
            Ok(block) => {
                let block = Arc::new(block);
                self.read.push_back((key, Arc::clone(&block)));
                if self.read.len() > CACHED {
                    self.read.pop_front();
                }
                Some(block)
            }
            Err(what) => {
                let what = format!("{what}: {} events of owner {}", entry.head.events, entry.head.owner);
                self.trouble(entry.segment, entry.at, what);
                None
            }
        }
    }
}

/// Takes what matches of a block; false when the budget ended before the block did.
fn take(
    block: &Block,
    ask: &HistoryAsk,
    chunk: &mut Chunk,
    to: u64,
    (names, budget): (&mut Names, &mut ReadBudget),
) -> bool {
    let mut known: Vec<Option<bool>> = vec![None; block.tag_sets()];
    for index in block.at_position(chunk.next)..block.len() {
        let Some(run) = block.get(index).filter(|run| run.position < to) else { return true };
        if budget.is_spent() {
            return false;
        }
        // Places that rules have left without a run hold nothing.
        chunk.next = run.position + 1;
        budget.steps -= 1;
        let place = block.tag_of(index);
        let is_wanted = *known[place].get_or_insert_with(|| matches(&run, &ask.selectors, budget));
        if is_wanted && run.arrived.as_nanos() >= ask.not_before {
            budget.bytes = budget.bytes.saturating_sub(Block::memory_of(&run));
            let tag = names.of(&run);
            chunk.runs.push(&KeptRun { tag, ..run });
        }
    }
    true
}
