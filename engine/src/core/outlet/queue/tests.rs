//! A queue against a slow model of it.

use millrace_proto::{Epoch, PublisherId, RouterId, TagSet};
use proptest::prelude::*;

use super::*;

const POLICY: QueuePolicy =
    QueuePolicy { bytes_max: u64::MAX, overflow: Overflow::DropOldest, reason: GapReason::Overflow };

/// Drops the oldest runs, and counts their events.
fn make_room(queue: &mut RunQueue, bytes: u64, bytes_max: u64) -> u64 {
    let mut dropped = 0;
    let fits = |queue: &RunQueue| queue.bytes + bytes <= bytes_max;
    queue.drop_oldest(fits, GapReason::Overflow, |run| dropped += run.events);
    dropped
}

/// What a queue holds, the slow way.
#[derive(Debug, Clone, PartialEq)]
enum Model {
    Run { seq: u64, tags: Vec<u8>, fields: Vec<u8>, body: Vec<u8>, kept: bool },
    Gap(Gap),
    Mark(u64),
}

impl Model {
    fn bytes(&self) -> u64 {
        match self {
            Self::Run { tags, fields, body, .. } => {
                (tags.len() + fields.len() + body.len()) as u64 + OVERHEAD_BYTES
            }
            Self::Gap(_) | Self::Mark(_) => 0,
        }
    }
}

/// Gaps of other reasons move to the front, once for each router; then comes that of what was
/// dropped. Marks stay where they are between what was dropped.
fn drop_oldest(model: &mut VecDeque<Model>, bytes: u64, bytes_max: u64) -> u64 {
    let (mut dropped, mut overflow, mut others, mut front) = (0, 0, Vec::new(), Vec::new());
    let end = |overflow: &mut u64, others: &mut Vec<Gap>, front: &mut Vec<Model>| {
        let events = std::mem::take(overflow);
        front.extend(others.drain(..).map(Model::Gap));
        if events > 0 {
            front.push(Model::Gap(Gap { reason: GapReason::Overflow, events, router: None }));
        }
    };
    while model.iter().map(Model::bytes).sum::<u64>() + bytes > bytes_max {
        match model.pop_front() {
            Some(Model::Run { .. }) => (dropped, overflow) = (dropped + 1, overflow + 1),
            Some(Model::Mark(mark)) => {
                end(&mut overflow, &mut others, &mut front);
                front.push(Model::Mark(mark));
            }
            Some(Model::Gap(gap)) if gap.reason == GapReason::Overflow => overflow += gap.events,
            Some(Model::Gap(gap)) if !others.contains(&gap) => others.push(gap),
            Some(Model::Gap(_)) => {}
            None => break,
        }
    }
    end(&mut overflow, &mut others, &mut front);
    for item in front.into_iter().rev() {
        model.push_front(item);
    }
    dropped
}

/// The memory of a queue, as its parts say.
fn reserved(queue: &RunQueue) -> u64 {
    let kept = |item: &Item| match item {
        Item::Run(Waiting { body: Body::Kept(body), .. }) => body.len(),
        _ => 0,
    };
    let blocks = queue.blocks.iter().map(Vec::capacity).chain(queue.items.iter().map(kept)).sum::<usize>();
    (blocks + queue.items.len() * ITEM_BYTES) as u64
}

fn pop(queue: &mut RunQueue) -> Option<Model> {
    let mut popped = None;
    queue.pop(|item| {
        popped = Some(match item {
            Popped::Run(run, seq) => {
                let (tags, fields, body) = (run.tags.canonical().into(), run.fields.into(), run.body.into());
                Model::Run { seq, tags, fields, body, kept: run.buffer.is_some() }
            }
            Popped::Gap(gap) => Model::Gap(gap),
            Popped::Mark(mark) => Model::Mark(mark.number),
        });
    });
    popped
}

fn push(queue: &mut RunQueue, model: &Model) {
    let Model::Run { seq, tags, fields, body, kept } = model else { return };
    let buffer = kept.then(|| Bytes::copy_from_slice(body));
    let run = RunOut {
        tag: TagId::default(),
        number: None,
        tags: TagSetRef::trusted(tags),
        publisher: PublisherKey { publisher: PublisherId(1), epoch: Epoch(2) },
        flags: 0,
        fields,
        body: buffer.as_deref().unwrap_or(body),
        buffer: buffer.as_ref(),
        events: 1,
        from: None,
        entry: None,
        place: None,
    };
    assert!(RunQueue::bytes_of(&run) > 0);
    queue.push(&run, *seq);
}

fn run(seq: u64, hosts: usize, fields: usize, body: usize, kept: bool) -> Model {
    let tags = TagSet::from_texts((0..hosts).map(|host| format!("host{host}=a"))).unwrap();
    let byte = seq.to_le_bytes()[0];
    Model::Run {
        seq,
        tags: tags.canonical().into(),
        fields: vec![byte; fields],
        body: vec![byte; body],
        kept,
    }
}

proptest! {
    #[test]
    fn what_was_pushed_is_popped_in_order(
        steps in prop::collection::vec((0..13_u8, 1..4_usize, 0..3_usize, 0..3000_usize, any::<bool>()), 0..300),
    ) {
        let (mut queue, mut model) = (RunQueue::new(POLICY, Total::default()), VecDeque::new());
        for (seq, (kind, hosts, fields, body, kept)) in (0..).zip(steps) {
            match kind {
                0..=5 => {
                    let item = run(seq, hosts, fields, body, kept);
                    push(&mut queue, &item);
                    model.push_back(item);
                }
                6 => {
                    let gap = Gap { reason: GapReason::RouterLost, events: 0, router: Some(RouterId(seq)) };
                    if queue.push_gap(gap.clone()) {
                        model.push_back(Model::Gap(gap));
                    } else {
                        // Too many of them: the last one speaks of all.
                        model.pop_back();
                        model.push_back(Model::Gap(Gap { router: None, ..gap }));
                    }
                }
                7 => {
                    let most = queue.bytes() / 2 + body as u64;
                    let dropped = make_room(&mut queue, body as u64, most);
                    prop_assert_eq!(dropped, drop_oldest(&mut model, body as u64, most));
                }
                8 => {
                    queue.push_mark(Mark { number: seq, ..Mark::default() });
                    if matches!(model.back(), Some(Model::Mark(_))) {
                        model.pop_back();
                    }
                    model.push_back(Model::Mark(seq));
                }
                _ => prop_assert_eq!(pop(&mut queue), model.pop_front()),
            }
            let runs = model.iter().filter(|item| matches!(item, Model::Run { .. })).count();
            prop_assert_eq!(queue.events(), runs as u64);
            prop_assert_eq!(queue.bytes(), model.iter().map(Model::bytes).sum::<u64>());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
            prop_assert_eq!(queue.room(), reserved(&queue));
        }
        while let Some(item) = model.pop_front() {
            prop_assert_eq!(pop(&mut queue), Some(item));
        }
        prop_assert_eq!(pop(&mut queue), None);
        prop_assert_eq!((queue.blocks.capacity(), queue.items.capacity()), (0, 0));
    }
}

#[test]
fn dropping_the_oldest_leaves_one_gap_and_what_came_last() {
    let mut queue = RunQueue::new(POLICY, Total::default());
    for seq in 0..50 {
        push(&mut queue, &run(seq, 1, 0, 100, seq % 3 == 0));
    }
    let (bytes, most) = (1000, queue.bytes() / 2);
    let dropped = make_room(&mut queue, bytes, most);
    assert!(queue.bytes() + bytes <= most && dropped > 25);
    assert_eq!(queue.events(), 50 - dropped);
    let gap = Gap { reason: GapReason::Overflow, events: dropped, router: None };
    assert_eq!(pop(&mut queue), Some(Model::Gap(gap)));
    for seq in dropped..50 {
        assert_eq!(pop(&mut queue), Some(run(seq, 1, 0, 100, seq % 3 == 0)));
    }
    assert_eq!((queue.bytes(), queue.is_empty()), (0, true));
}

#[test]
fn what_is_dropped_on_both_sides_of_a_mark_is_told_on_both_sides() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let mut queue = RunQueue::new(QueuePolicy { overflow, ..POLICY }, Total::default());
        for seq in 0..6 {
            push(&mut queue, &run(seq, 1, 0, 100, false));
            if seq == 2 {
                queue.push_mark(Mark { number: 7, ..Mark::default() });
            }
        }
        queue.shed(0, |_| {});
        let gap = || Some(Model::Gap(Gap { reason: GapReason::Overflow, events: 3, router: None }));
        let left = [pop(&mut queue), pop(&mut queue), pop(&mut queue), pop(&mut queue)];
        assert_eq!(left, [gap(), Some(Model::Mark(7)), gap(), None], "{overflow:?}");
    }
}

#[test]
fn shedding_follows_the_policy_and_the_total_is_that_of_all_queues() {
    let total = Total::default();
    let queue_of = |overflow| {
        let mut queue = RunQueue::new(QueuePolicy { overflow, ..POLICY }, total.clone());
        for seq in 0..300 {
            push(&mut queue, &run(seq, 1, 0, 1000, seq % 7 == 0));
        }
        queue
    };
    let (mut oldest, mut newest) = (queue_of(Overflow::DropOldest), queue_of(Overflow::DropNewest));
    assert_eq!(total.bytes(), oldest.room() + newest.room());
    let (most, mut lost) = (oldest.room() / 3, [0, 0]);
    oldest.shed(most, |run| lost[0] += run.events);
    newest.shed(most, |run| lost[1] += run.events);
    assert_eq!(total.bytes(), reserved(&oldest) + reserved(&newest));
    // The gap that stands for what was dropped comes on top.
    assert!(oldest.room().max(newest.room()) <= most + ITEM_BYTES as u64 && lost[0] > 100);
    assert!(oldest.room() > most / 2, "no more is dropped than has to be: {most}, {}", oldest.room());
    let gap = |events| Some(Model::Gap(Gap { reason: GapReason::Overflow, events, router: None }));
    assert_eq!(pop(&mut oldest), gap(lost[0]));
    for seq in lost[0]..300 {
        assert_eq!(pop(&mut oldest), Some(run(seq, 1, 0, 1000, seq % 7 == 0)));
    }
    for seq in 0..300 - lost[1] {
        assert_eq!(pop(&mut newest), Some(run(seq, 1, 0, 1000, seq % 7 == 0)));
    }
    assert_eq!((pop(&mut newest), pop(&mut newest)), (gap(lost[1]), None));
    push(&mut newest, &run(1, 1, 0, 10, false));
    assert_eq!(newest.clear(|_| {}), 1);
    assert_eq!(total.bytes(), 0);
}

#[test]
fn a_queue_reserves_little_more_than_its_runs_take() {
    for (body, count) in [(10, 5_000), (1_000, 400), (30_000, 40)] {
        let mut queue = RunQueue::new(POLICY, Total::default());
        for seq in 0..count {
            push(&mut queue, &run(seq, 1, 0, body, false));
        }
        // All but the youngest part of them is gone.
        let (bytes, items) = (queue.bytes(), count * ITEM_BYTES as u64);
        assert!(queue.room() < (bytes + items) * 3 / 2, "{body}: {} for {bytes}", queue.room());
        assert!(queue.items.capacity() <= queue.items.len() * 2);
        while queue.bytes() > bytes / 2 {
            pop(&mut queue);
        }
        queue.shed(queue.room(), |_| {});
        assert!(queue.room() < (bytes + items) * 3 / 4, "{body}: {} for {}", queue.room(), queue.bytes());
    }
}
