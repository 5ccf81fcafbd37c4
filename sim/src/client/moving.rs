//! The move of one receiver to the next router: what the next connection has brought, until it is
//! known what of it is new.

use millrace_client::session::receiver::{Handover, Session, Verdict};
use millrace_client::session::{DeliveredRun, Place, Plan};
use millrace_engine::time::Time;
use millrace_proto::data::Gap;
use millrace_proto::{PublisherKey, TagSet};
use millrace_verify::payload::Stamp;

use super::reading::place_of;

/// The move of one receiver.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) handover: Handover,
    /// Its plan on the next connection.
    pub(super) plan: Plan,
    pub(super) held: Vec<Held>,
    pub(super) settle_by: Option<Time>,
    /// The old router has ended the receiver meanwhile, and opened it anew.
    pub(super) has_failed: bool,
}

/// What the next connection has brought.
#[derive(Debug)]
pub(super) enum Held {
    Run(HeldRun),
    Gap(Gap),
    Place(Place),
    /// A run that the old connection brings, and its events; it is to be acknowledged here, too.
    Copy(u64, Vec<(u32, u64)>),
}

#[derive(Debug)]
pub(super) struct HeldRun {
    pub(super) number: u64,
    pub(super) tags: TagSet,
    pub(super) publisher: PublisherKey,
    pub(super) first_seq: u64,
    pub(super) floor: u64,
    pub(super) has_level: bool,
    pub(super) wants_ack: bool,
    pub(super) was_sent: bool,
    /// What it says of its standby set.
    pub(super) set: Vec<u8>,
    pub(super) matched: Vec<u32>,
    pub(super) payloads: Vec<Vec<u8>>,
    pub(super) replayed: bool,
    pub(super) place: Option<Place>,
}

impl Move {
    /// What becomes of something that is no run.
    pub(super) fn keep_gap(&mut self, session: Session, gap: &Gap) -> Verdict {
        let verdict = self.handover.gap(session);
        if verdict == Verdict::Hold {
            self.held.push(Held::Gap(gap.clone()));
        }
        verdict
    }

    /// What becomes of a place.
    pub(super) fn keep_place(&mut self, session: Session, place: &Place) -> Verdict {
        let verdict = self.handover.verdict(session);
        if verdict == Verdict::Hold {
            self.held.push(Held::Place(place.clone()));
        }
        verdict
    }

    /// What becomes of a run; what is held is kept here.
    pub(super) fn keep_run(&mut self, session: Session, run: &DeliveredRun<'_>) -> Verdict {
        let seqs = run.first_seq()..run.first_seq() + run.count();
        let verdict = self.handover.judge(session, run.publisher, seqs);
        match (verdict, session) {
            (Verdict::Hold, _) => self.held.push(Held::Run(HeldRun {
                number: run.number,
                tags: run.tag_set(),
                publisher: run.publisher,
                first_seq: run.first_seq(),
                floor: run.floor(),
                has_level: run.has_level(),
                wants_ack: run.wants_ack(),
                was_sent: run.maybe_duplicate(),
                set: run.of_set().to_vec(),
                matched: run.matched().collect(),
                payloads: run.events().map(|event| event.payload.to_vec()).collect(),
                replayed: run.is_replayed(),
                place: place_of(run),
            })),
            (Verdict::Drop, Session::New) if run.wants_ack() => {
                self.held.push(Held::Copy(run.number, stamps(run)));
            }
            _ => {}
        }
        verdict
    }
}

/// The events of a run, as checkers know them.
pub(super) fn stamps(run: &DeliveredRun<'_>) -> Vec<(u32, u64)> {
    let stamp = |payload| Stamp::decode(payload).ok().map(|stamp| (stamp.emitter, stamp.n));
    run.events().filter_map(|event| stamp(event.payload)).collect()
}
