//! A replay and its live runs, interleaved at random: the receiver gets each run once, in order.

use std::collections::VecDeque;

use crate::history::{Join, Live, RESTARTS_MAX};

/// A small generator: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// An owner with one receiver: runs are on their way to it, some are held.
#[derive(Default)]
struct Model {
    next: u64,
    on_the_way: VecDeque<u64>,
    held: VecDeque<u64>,
    got: Vec<u64>,
    restarts: u64,
    overruns: u64,
}

impl Model {
    fn arrive(&mut self, join: &mut Join, hold_max: usize) {
        let Some(position) = self.on_the_way.pop_front() else { return };
        match join.live(position) {
            Live::Pass => self.got.push(position),
            Live::Drop => {}
            Live::Hold if self.held.len() < hold_max => self.held.push_back(position),
            Live::Hold => {
                self.held.clear();
                self.restarts += 1;
                if !join.restart(position) {
                    self.overruns += 1;
                }
            }
        }
    }
}

#[test]
fn whatever_the_interleaving_nothing_is_missed_repeated_or_out_of_order() {
    let (mut restarted, mut overran) = (0, 0);
    for seed in 0..1_000 {
        let mut random = Random(seed);
        let mut model = Model { next: random.below(20), ..Model::default() };
        let hold_max = 1 + usize::try_from(random.below(12)).unwrap();
        let speed = 1 + random.below(5);
        let (mut join, begin) = (Join::asked(), random.below(model.next + 1));
        // The owner matches live runs from before it pins.
        let mut pinned: Option<(u64, u64)> = None;
        let mut is_told = false;
        for _ in 0..400 {
            match random.below(6) {
                0 => {
                    model.on_the_way.push_back(model.next);
                    model.next += 1;
                }
                1 if pinned.is_none() => pinned = Some((begin, model.next)),
                2 if !is_told => {
                    if let Some((from, to)) = pinned {
                        join.pinned(from, to);
                        is_told = true;
                    }
                }
                3 | 4 => model.arrive(&mut join, hold_max),
                _ => {
                    if let Some((from, to)) = join.to_read() {
                        let next = to.min(from + speed);
                        model.got.extend(from..next);
                        join.read(next);
                    }
                    if let Some(at) = join.join() {
                        model.got.extend(model.held.drain(..).filter(|&position| position >= at));
                    }
                }
            }
        }
        restarted += model.restarts;
        overran += model.overruns;
        assert!(model.got.is_sorted_by(|one, next| one < next), "seed {seed}: {:?}", model.got);
        if model.overruns == 0 && !model.got.is_empty() {
            let expected: Vec<u64> = (begin..).take(model.got.len()).collect();
            assert_eq!(model.got, expected, "seed {seed}");
        }
    }
    assert!(restarted > 0 && overran > 0, "both were met: {restarted}, {overran}");
}

#[test]
fn a_receiver_that_is_overrun_too_often_goes_on_live() {
    let mut join = Join::asked();
    join.pinned(0, 10);
    for restart in 0..RESTARTS_MAX {
        assert!(join.restart(20 + u64::from(restart)));
        assert_eq!(join.to_read(), Some((0, 21 + u64::from(restart))));
    }
    assert!(!join.restart(40));
    assert_eq!((join.live(40), join.live(41), join.to_read()), (Live::Drop, Live::Pass, None));
    assert_eq!(Join::at(5).live(4), Live::Drop);
}

#[test]
fn what_was_read_beyond_the_end_is_read_again_when_the_end_moves() {
    let mut join = Join::asked();
    join.pinned(0, 10);
    join.read_to(15);
    assert_eq!((join.is_replayed(12), join.to_read()), (false, None));
    // The live runs from 10 on were held, and are dropped.
    assert!(join.restart(20));
    assert_eq!(join.to_read(), Some((10, 21)));
}
