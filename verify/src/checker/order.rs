//! Agreement: the events of one tag set that enter through one router reach every receiver in one
//! and the same order.
//!
//! Each receiver's stream is a chain of such events. One order that fits all chains exists exactly
//! when the chains together have no cycle (Kahn's algorithm, linear in the deliveries). Disorder
//! within one emitter is the business of [`stream`](super::stream); only tag sets with several
//! emitters are looked at here.

use std::collections::{BTreeMap, BTreeSet};

use millrace_proto::RouterId;

use super::Findings;
use super::history::History;
use super::stream::Stream;

/// The name of this checker in findings.
pub const NAME: &str = "order";

type Event = (u32, u64);

/// Counts the events on which receivers disagree: those on a cycle, or behind one.
pub fn check<'a>(
    streams: impl Iterator<Item = &'a Stream>,
    history: &History,
    findings: &mut Findings,
) -> u64 {
    let mut emitters_of: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for emitter in 0..history.emitters() {
        emitters_of.entry(history.tags(emitter)).or_default().push(emitter);
    }
    let shared: BTreeMap<u32, usize> = (emitters_of.values().enumerate())
        .filter(|(_, emitters)| emitters.len() > 1)
        .flat_map(|(tag_set, emitters)| emitters.iter().map(move |&emitter| (emitter, tag_set)))
        .collect();
    let mut chains: BTreeMap<(usize, RouterId), Vec<Vec<Event>>> = BTreeMap::new();
    for stream in streams {
        for (key, chain) in chains_of(stream, &shared, history) {
            chains.entry(key).or_default().push(chain);
        }
    }
    let mut disagreements = 0;
    for ((_, entry), chains) in chains {
        let stuck = without_order(&chains);
        if let Some((emitter, n)) = stuck.first() {
            disagreements += stuck.len() as u64;
            let tags = history.tags(*emitter);
            findings.add(NAME, || {
                format!(
                    "receivers disagree on the order of {} events of {{{tags}}} through router {entry}, \
                     among them event {n} of emitter {emitter}",
                    stuck.len()
                )
            });
        }
    }
    disagreements
}

/// First copies in one stream, by tag set and entry router.
fn chains_of(
    stream: &Stream,
    shared: &BTreeMap<u32, usize>,
    history: &History,
) -> BTreeMap<(usize, RouterId), Vec<Event>> {
    let mut chains: BTreeMap<_, Vec<Event>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for taken in stream.events() {
        let event = (taken.emitter, taken.n);
        let Some(&tag_set) = shared.get(&taken.emitter) else { continue };
        let entry = history.event(taken.emitter, taken.n).and_then(|event| event.entry);
        if let Some(entry) = entry.filter(|_| seen.insert(event)) {
            chains.entry((tag_set, entry)).or_default().push(event);
        }
    }
    chains
}

/// The events that have no place in an order that fits all chains.
fn without_order(chains: &[Vec<Event>]) -> BTreeSet<Event> {
    let mut behind: BTreeMap<Event, Vec<Event>> = BTreeMap::new();
    let mut waiting: BTreeMap<Event, usize> = chains.iter().flatten().map(|&event| (event, 0)).collect();
    for (first, second) in chains.iter().flat_map(|chain| chain.iter().zip(chain.iter().skip(1))) {
        behind.entry(*first).or_default().push(*second);
        *waiting.entry(*second).or_default() += 1;
    }
    let mut ready: Vec<Event> =
        waiting.iter().filter(|&(_, &before)| before == 0).map(|(&event, _)| event).collect();
    while let Some(event) = ready.pop() {
        waiting.remove(&event);
        for next in behind.remove(&event).unwrap_or_default() {
            if let Some(before) = waiting.get_mut(&next) {
                *before -= 1;
                if *before == 0 {
                    ready.push(next);
                }
            }
        }
    }
    waiting.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use millrace_proto::TagSet;

    use super::super::stream::Taken;
    use super::*;
    use crate::workload::Words;

    /// Disagreements when receivers get these events of two emitters with one tag set and a third
    /// with another.
    fn check_streams(streams: &[&[Event]]) -> u64 {
        let tags = |text| TagSet::from_texts([text]).unwrap();
        let mut history = History::new(Words::default(), vec![tags("a=b"), tags("a=b"), tags("a=c")]);
        for (emitter, n) in (0..3).flat_map(|emitter| (0..10).map(move |n| (emitter, n))) {
            history.publish(emitter, 0, Some(RouterId(n / 5)));
        }
        let stream = |events: &&[Event]| {
            let mut stream = Stream::default();
            for &(emitter, n) in *events {
                stream.event(Taken { emitter, n, matched: Box::default(), at: 0 });
            }
            stream
        };
        let streams: Vec<Stream> = streams.iter().map(stream).collect();
        let mut findings = Findings::default();
        let count = check(streams.iter(), &history, &mut findings);
        assert_eq!(findings.is_empty(), count == 0);
        count
    }

    #[test]
    fn receivers_that_agree_are_clean_even_when_each_misses_something() {
        assert_eq!(check_streams(&[&[(0, 0), (1, 0), (0, 1)], &[(0, 0), (0, 1)], &[(1, 0), (0, 1)]]), 0);
    }

    #[test]
    fn a_swap_between_two_emitters_of_one_tag_set_is_noticed() {
        assert_eq!(check_streams(&[&[(0, 0), (1, 0)], &[(1, 0), (0, 0)]]), 2);
    }

    #[test]
    fn a_cycle_over_three_receivers_is_noticed() {
        assert_eq!(check_streams(&[&[(0, 0), (0, 1)], &[(0, 1), (1, 0)], &[(1, 0), (0, 0)]]), 3);
    }

    #[test]
    fn other_tag_sets_and_other_routers_have_no_common_order() {
        assert_eq!(check_streams(&[&[(0, 0), (2, 0)], &[(2, 0), (0, 0)]]), 0);
        assert_eq!(check_streams(&[&[(0, 0), (1, 7)], &[(1, 7), (0, 0)]]), 0);
    }
}
