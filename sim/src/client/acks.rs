//! How a receiver's program acknowledges what it has taken: at once, when it has worked on it,
//! late, or never.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_engine::time::Time;
use millrace_proto::ReceiverNumber;
use millrace_proto::control::{Ack, AckKind, SeqRanges};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// How long the client's library gathers acknowledgements.
const GATHER: Duration = Duration::from_millis(20);
/// How long a program works on one run, at most.
const WORK: Duration = Duration::from_millis(200);

/// When a program acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckHabit {
    /// As soon as it has taken a run: the library does so by itself.
    AtOnce,
    /// When it has worked on the run: in any order.
    Explicit,
    /// Around the time at which routers give up, or behind it: up to so long.
    Late(Duration),
    /// Not at all.
    Never,
}

impl AckHabit {
    /// Whether publishers may wait for it in vain.
    pub(super) const fn is_slow(self) -> bool {
        matches!(self, Self::Late(_) | Self::Never)
    }

    /// How long it takes for one run; `None`: for ever.
    fn delay(self, rng: &mut Pcg64Mcg) -> Option<Duration> {
        let up_to = |rng: &mut Pcg64Mcg, longest: Duration| {
            Duration::from_nanos(rng.random_range(0..=u64::try_from(longest.as_nanos()).unwrap_or(0)))
        };
        match self {
            Self::AtOnce => Some(GATHER),
            Self::Explicit => Some(GATHER + up_to(rng, WORK)),
            Self::Late(longest) => Some(longest / 2 + up_to(rng, longest / 2)),
            Self::Never => None,
        }
    }
}

/// A run that was taken, and the events in it.
#[derive(Debug)]
struct Taken {
    number: u64,
    events: Vec<(u32, u64)>,
}

/// What one receiver's program has taken in its present session, and not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// By the time at which it is done with them, in the order in which they came.
    waiting: BTreeMap<(Time, u64), Taken>,
    taken: u64,
}

impl Acks {
    /// The program takes a run.
    pub(super) fn take(
        &mut self,
        habit: AckHabit,
        (number, events): (u64, Vec<(u32, u64)>),
        now: Time,
        rng: &mut Pcg64Mcg,
    ) {
        if let Some(delay) = habit.delay(rng) {
            self.taken += 1;
            self.waiting.insert((now + delay, self.taken), Taken { number, events });
        }
    }

    /// When the program is done with something.
    pub(super) fn due(&self) -> Option<Time> {
        self.waiting.first_key_value().map(|(&(due, _), _)| due)
    }

    /// What it is done with by now: the frames to send, and the events in them.
    pub(super) fn done(&mut self, receiver: ReceiverNumber, now: Time) -> (Vec<Ack>, Vec<(u32, u64)>) {
        let (mut runs, mut events) = (Vec::new(), Vec::new());
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            let taken = entry.remove();
            runs.push(taken.number);
            events.extend(taken.events);
        }
        runs.sort_unstable();
        let (mut frames, mut ranges) = (Vec::new(), SeqRanges::new());
        let frame = |runs| Ack { receiver, kind: AckKind::Taken, runs, ..Ack::default() };
        for run in runs {
            if !ranges.push(run, 1) {
                frames.push(frame(std::mem::take(&mut ranges)));
                ranges.push(run, 1);
            }
        }
        if !ranges.is_empty() {
            frames.push(frame(ranges));
        }
        (frames, events)
    }

    /// Another session begins: runs of the one before are nobody's.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }
}
