//! What a run came to, in counts.

use serde::Serialize;

use super::numbered::NumberedSide;

/// Findings that are kept in words.
const FINDINGS_MAX: usize = 20;

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// Events that publishers told to be in their spools.
    pub published: u64,
    /// Of these, those that ended in each way, as far as it was told.
    pub confirmed: u64,
    /// Ended as partial.
    pub partial: u64,
    /// Ended as dropped.
    pub dropped: u64,
    /// Ended as unknown.
    pub unknown: u64,
    /// Given up by the spool.
    pub given_up: u64,
    /// Pending in spools at the end.
    pub pending: u64,
    /// Their end was told to a publisher that was killed before it told anybody.
    pub untold: u64,
    /// Pairs of published events and receivers that want them.
    pub expected_pairs: u64,
    /// Pairs that were judged.
    pub judged_pairs: u64,
    /// Of these, those within five seconds of a fault of a router.
    pub pairs_near_faults: u64,
    /// Judged pairs whose receiver has not got the event.
    pub confirmed_lost: u64,
    /// Events whose end nobody knows, that are not pending, and that no receiver has got.
    pub vanished: u64,
    /// Seqs that a publisher gave twice.
    pub reused_seqs: u64,
    /// Events that receivers got.
    pub delivered: u64,
    /// Copies beyond the first that receivers' applications got.
    pub duplicates: u64,
    /// Copies beyond the first, those included that receivers' libraries removed.
    pub duplicates_before_removal: u64,
    /// Events behind a later one of their emitter in one session of publisher and receiver.
    pub reordered: u64,
    /// Partial events that a receiver missed without a gap.
    pub unexplained_gaps: u64,
    /// Gaps that receivers were told.
    pub gaps: u64,
    /// Events that nobody had asked for.
    pub unexpected: u64,
    /// Payloads that are not what was published.
    pub corrupted: u64,
    /// Confirmed events that the group was owed, if one takes part: a member was there, effective
    /// in the cluster, from before the publish until the confirm. Judged at the level *delivered*.
    pub group_judged: u64,
    /// Of these, those that no member has taken.
    pub group_lost: u64,
    /// Events that were taken more than once without a mark.
    pub group_twice: u64,
    /// Pairs of a confirmed event and a receiver of the far cluster, if there is one, that was owed
    /// it.
    pub far_judged: u64,
    /// Of these, those whose receiver has not got the event.
    pub far_lost: u64,
    /// Events that receivers there got twice without a mark.
    pub far_twice: u64,
    /// Numbers that receivers of the standby set's stream got, if there is one.
    pub set_delivered: u64,
    /// Times that another member took over.
    pub set_takeovers: u64,
    /// Numbers that never came, behind a gap.
    pub set_told: u64,
    /// Numbers that never came, without a gap.
    pub set_lost: u64,
    /// Numbers that came twice.
    pub set_twice: u64,
    /// Numbers that came behind a later one, where a gap had told of them.
    pub set_late: u64,
    /// Numbers that came behind a later one, without a gap.
    pub set_reordered: u64,
    /// Receivers of the stream that did not have its last number.
    pub set_stalled: u64,
    /// Receivers that were on a router when it was killed, at least once.
    pub receivers_on_killed: u64,
    /// The first faults in words.
    pub findings: Vec<String>,
}

impl Judged {
    /// Whether nothing is wrong, and enough was judged to say so.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.wrongs().is_empty() && self.judged_pairs > 0
    }

    /// What is wrong, with how often.
    #[must_use]
    pub fn wrongs(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("confirmed events that a receiver never got", self.confirmed_lost),
            ("events that vanished from spools", self.vanished),
            ("seqs that were given twice", self.reused_seqs),
            ("events that applications got twice", self.duplicates),
            ("events out of order", self.reordered),
            ("events that were missed without a gap", self.unexplained_gaps),
            ("events that nobody had asked for", self.unexpected),
            ("payloads that were changed", self.corrupted),
            ("confirmed events that no member of the group took", self.group_lost),
            ("events that members took twice without a mark", self.group_twice),
            ("confirmed events that a receiver of the far cluster never got", self.far_lost),
            ("events that came twice to the far cluster", self.far_twice),
            ("numbers of the set that were missed without a gap", self.set_lost),
            ("numbers of the set that came twice", self.set_twice),
            ("numbers of the set out of order", self.set_reordered),
            ("receivers of the set that its last number did not reach", self.set_stalled),
        ];
        all.into_iter().filter(|&(_, count)| count > 0).collect()
    }

    pub(super) fn find(&mut self, words: impl FnOnce() -> String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(words());
        }
    }

    /// Adds what a receiver of the standby set's stream got, whose last number is this.
    pub(super) fn ear(&mut self, ear: usize, side: &NumberedSide, last: u64) {
        let astray = side.astray();
        self.set_delivered += side.delivered;
        self.set_told += astray.missing_told;
        self.set_lost += astray.missing;
        self.set_late += astray.late_told;
        self.set_reordered += astray.late;
        self.set_twice += side.twice;
        self.set_stalled += u64::from(!side.has(last));
        if let Some(numbers) = astray.first {
            self.find(|| {
                format!(
                    "receiver {ear} of the set missed numbers {numbers:?}, or had them late, without a gap"
                )
            });
        }
    }
}
