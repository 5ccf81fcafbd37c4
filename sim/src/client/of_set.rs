//! Runs of standby sets at a receiver: what its library lets pass, and what its application takes.

use std::ops::Range;

use millrace_client::session::Dedup;
use millrace_client::session::receiver::{Fresh, SetVerdict};
use millrace_proto::PublisherId;
use millrace_proto::data::optional::StandbySet;
use millrace_verify::checker::standby::Taken;

use crate::record::Record;
use crate::source::set_of;

/// What is known of a run that may be of a set.
#[derive(Debug)]
pub(super) struct InSet {
    owner: u32,
    stamp: Option<(u64, PublisherId)>,
    /// What its set leaves of it; none for a run of no set.
    pub(super) fresh: Option<Fresh>,
}

impl InSet {
    /// Judges a run as the library does: `set` is what its header says. None: it is fenced.
    pub(super) fn judge(
        dedup: &mut Dedup,
        set: &[u8],
        publisher: PublisherId,
        seqs: &Range<u64>,
        (owner, record): (u32, &mut Record),
    ) -> Option<Self> {
        if set.is_empty() {
            return Some(Self { owner, stamp: None, fresh: None });
        }
        let run = StandbySet::parse(set).ok();
        let stamp = run.map(|run| (run.generation, publisher));
        match dedup.take_of_set(set, publisher, seqs) {
            SetVerdict::Fenced => {
                record.fenced += seqs.end - seqs.start;
                None
            }
            SetVerdict::Fresh { parts, is_takeover } => {
                if is_takeover {
                    record.takeover(owner, run.and_then(|run| run.source_seqs().next()));
                }
                Some(Self { owner, stamp, fresh: Some(Fresh { parts, maybe_duplicate: false }) })
            }
        }
    }

    /// The application takes an event, if it is of a set: says whether it is.
    pub(super) fn takes(&self, event: Option<(u32, u64)>, record: &mut Record) -> bool {
        let Some((set, n)) = event.and_then(|(emitter, n)| Some((set_of(emitter)?, n))) else { return false };
        let taken = Taken { owner: self.owner, set, n, stamp: self.stamp };
        record.standby.taken(taken, &mut record.findings);
        record.deliveries += 1;
        true
    }
}
