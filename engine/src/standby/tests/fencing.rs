//! Fences, against a list of all that passed.

use millrace_proto::PublisherId;
use millrace_proto::data::optional::StandbySet;
use millrace_proto::data::{HopHeader, PublisherOnStream, TagsOnStream};
use proptest::prelude::*;

use super::cluster::SET;
use crate::standby::{Fences, SetCount, SetNews, Verdict};

fn stamped(set: &str, generation: u64, seqs: &[u64]) -> Vec<u8> {
    let mut fields = Vec::new();
    StandbySet::put(&mut fields, set, generation, seqs.iter().copied());
    fields
}

fn read(fields: &[u8]) -> StandbySet<'_> {
    let (tags, publisher) = (TagsOnStream::Number(0), PublisherOnStream::Number(0));
    HopHeader { tags, publisher, flags: 0, lane_seq: None, fields }.standby_set().unwrap().unwrap()
}

#[test]
fn only_the_holder_enters_and_what_it_has_sent_is_counted() {
    let mut fences = Fences::default();
    let [one, two] = [1, 2].map(PublisherId);
    let first = stamped(SET, 1, &[7, 9]);
    assert_eq!(fences.enter(&read(&first), one, 2), Verdict::Fenced, "nobody holds it");
    let news = |generation, publisher| SetNews { set: SET.into(), holder: Some((generation, publisher)) };
    fences.hear(&[news(1, one)]);
    assert_eq!(fences.enter(&read(&first), one, 2), Verdict::Pass);
    assert_eq!(fences.enter(&read(&first), two, 2), Verdict::Fenced);
    fences.hear(&[news(2, two)]);
    assert_eq!(fences.enter(&read(&first), one, 2), Verdict::Fenced);
    let counts = fences.take_counts();
    assert_eq!(counts, [SetCount { set: SET.into(), next_source_seq: 10, fenced: 4 }]);
    assert!(!fences.has_counts());
    fences.hear(&[SetNews { set: SET.into(), holder: None }]);
    assert_eq!(fences.enter(&read(&stamped(SET, 2, &[])), two, 1), Verdict::Fenced);
}

proptest! {
    /// Runs of any generations come in any order: what passes never falls below the highest before
    /// it, unless it is the highest's own publisher; and nothing else is dropped.
    #[test]
    fn what_passes_a_fence_is_never_a_zombies(runs in prop::collection::vec((1_u64..6, 0_u128..3), 1..60)) {
        let mut fences = Fences::default();
        let mut highest: Option<(u64, u128)> = None;
        let mut fenced = 0;
        for (generation, publisher) in runs {
            let fields = stamped(SET, generation, &[]);
            let verdict = fences.pass(&read(&fields), PublisherId(publisher), 1);
            let is_zombie = highest.is_some_and(|(top, holder)| generation < top && publisher != holder);
            prop_assert_eq!(verdict == Verdict::Fenced, is_zombie);
            fenced += u64::from(is_zombie);
            if highest.is_none_or(|(top, _)| generation > top) {
                highest = Some((generation, publisher));
            }
        }
        prop_assert_eq!(fences.take_counts().iter().map(|count| count.fenced).sum::<u64>(), fenced);
    }
}
