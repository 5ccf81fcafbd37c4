//! An archive on a folder of memory.

mod damage;
mod keeping;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::data::Source;
use millrace_proto::run::RunBuilder;
use millrace_proto::{Epoch, Incarnation, PublisherId, PublisherKey, RouterId, Selector, TagSet};

pub(crate) use self::storage::MemoryStorage;
use super::{Archive, FileLimits};
use crate::history::{Ask, Block, Found, HistoryAsk, KeptRun, ReplayId, Which};
use crate::routes::TagId;
use crate::time::Time;

const SECOND: u64 = 1_000_000_000;
/// The time of day at which tests begin.
const BEGIN: u64 = 1_700_000_000 * SECOND;
const LIMITS: FileLimits =
    FileLimits { bytes: 4 << 20, age: Duration::from_secs(3600), free_percent: 5, packs: false };

fn source(life: u64, owner: u16) -> Source {
    Source { router: RouterId(9), incarnation: Incarnation(life), owner }
}

/// An archive of common size.
pub(crate) fn memory_archive(storage: &MemoryStorage, present: Source, now: u64) -> Archive<MemoryStorage> {
    Archive::open(storage.clone(), LIMITS, present, now).unwrap()
}

fn open(storage: &MemoryStorage, life: u64, now: u64) -> Archive<MemoryStorage> {
    memory_archive(storage, source(life, 0), now)
}

/// The body of a run of one event.
fn body(seq: u64, payload: &[u8]) -> Vec<u8> {
    let (mut run, mut out) = (RunBuilder::default(), Vec::new());
    run.start(seq, 0, 0);
    run.push(0, payload);
    run.finish(&mut out);
    out
}

/// A block of runs of these positions, a millisecond apart; every third run has another tag set.
fn block(positions: std::ops::Range<u64>, arrived: u64, payload: usize) -> Block {
    let mut block = Block::with_room(1024);
    let tags = ["a", "b"].map(|host| TagSet::new([("host", host)]).unwrap());
    for position in positions {
        let number = u32::from(position % 3 == 0);
        let body = body(position, &vec![u8::try_from(position % 251).unwrap(); payload]);
        block.push(&KeptRun {
            position,
            arrived: Time::from_nanos(arrived + position * 1_000_000),
            tag: TagId::numbered(number),
            tags: tags[number as usize].borrow(),
            publisher: PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) },
            flags: 1,
            body: &body,
            events: 1,
        });
    }
    block.close();
    block
}

fn ask(owner: Source, from: u64, to: u64, selector: &str) -> HistoryAsk {
    HistoryAsk {
        id: ReplayId::default(),
        owner,
        server: owner,
        ask: Ask::On { from, to },
        selectors: Arc::from(vec![Arc::new(Selector::parse(selector).unwrap())]),
        which: Which::All,
        not_before: 0,
    }
}

/// All runs of a source, by repeated requests: positions with bodies, and whether something is
/// gone.
fn read_all(
    archive: &mut Archive<MemoryStorage>,
    owner: Source,
    selector: &str,
) -> (Vec<(u64, Vec<u8>)>, bool) {
    let (mut from, mut runs, mut is_cut) = (0, Vec::new(), false);
    loop {
        let found = archive.find(&ask(owner, from, u64::MAX, selector));
        let Found::Read { span: Some(span), chunk, .. } = found else { return (runs, true) };
        is_cut |= chunk.is_cut;
        for run in (0..chunk.runs.len()).filter_map(|index| chunk.runs.get(index)) {
            assert!(run.position >= from && run.position < chunk.next, "in order");
            runs.push((run.position, run.body.to_vec()));
        }
        assert!(chunk.next > from || span.to <= from, "each request goes on");
        from = chunk.next;
        if from >= span.to {
            return (runs, is_cut);
        }
    }
}

fn positions(runs: &[(u64, Vec<u8>)]) -> Vec<u64> {
    runs.iter().map(|&(position, _)| position).collect()
}
