//! What a publisher's process tells the run on its standard output: lines of words, because a line
//! is whole or missing when the process is killed.
//!
//! ```text
//! a 1500000 2 1           attached to router 2, its session 1
//! p 1502000 4711 25 9     published 25 events from seq 4711 on, of emitter 9
//! e 1509000 4711 4736 confirmed 2
//! l 1600000 17            17 events are pending
//! ```

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use millrace_client::Outcome;

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// At all receivers that match.
    Confirmed,
    /// Not at all of them.
    Partial,
    /// At none.
    Dropped,
    /// Nobody can tell.
    Unknown,
    /// Given up by the spool.
    GivenUp,
}

const ENDS: [(End, &str); 5] = [
    (End::Confirmed, "confirmed"),
    (End::Partial, "partial"),
    (End::Dropped, "dropped"),
    (End::Unknown, "unknown"),
    (End::GivenUp, "given_up"),
];

impl End {
    /// The end of an outcome, and how many receivers have the event.
    pub(super) const fn of(outcome: &Outcome) -> (Self, u64) {
        match outcome {
            Outcome::Confirmed { receivers } => (Self::Confirmed, *receivers),
            Outcome::Partial { receivers, .. } => (Self::Partial, *receivers),
            Outcome::Dropped { .. } => (Self::Dropped, 0),
            Outcome::GivenUp { .. } => (Self::GivenUp, 0),
            _ => (Self::Unknown, 0),
        }
    }
}

/// One line. Times are microseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// It has a session with a router.
    Attached {
        /// When it learned so.
        at_us: u64,
        /// Which, from 0.
        router: u16,
        /// Number of the session within this process, from 1.
        session: u16,
    },
    /// It has published events: they are in its spool.
    Published {
        /// Before the first was.
        at_us: u64,
        /// Their seqs.
        seqs: Range<u64>,
        /// Their emitter.
        emitter: u32,
    },
    /// Events have ended.
    Ended {
        /// When it learned so.
        at_us: u64,
        /// Their seqs.
        seqs: Range<u64>,
        /// How.
        end: End,
        /// How many receivers have each.
        receivers: u64,
    },
    /// How many events are pending.
    Left {
        /// When.
        at_us: u64,
        /// How many.
        pending: u64,
    },
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached { at_us, router, session } => write!(f, "a {at_us} {router} {session}"),
            Self::Published { at_us, seqs, emitter } => {
                write!(f, "p {at_us} {} {} {emitter}", seqs.start, seqs.end)
            }
            Self::Ended { at_us, seqs, end, receivers } => {
                let name = ENDS.iter().find(|(other, _)| other == end).map_or("unknown", |(_, name)| name);
                write!(f, "e {at_us} {} {} {name} {receivers}", seqs.start, seqs.end)
            }
            Self::Left { at_us, pending } => write!(f, "l {at_us} {pending}"),
        }
    }
}

/// A line is none of a publisher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a publisher said \"{0}\", which is no line of its kind")]
pub(super) struct SaidError(String);

impl FromStr for Said {
    type Err = SaidError;

    fn from_str(line: &str) -> Result<Self, SaidError> {
        read(line).ok_or_else(|| SaidError(line.to_owned()))
    }
}

fn read(line: &str) -> Option<Said> {
    let mut words = line.split_ascii_whitespace();
    let kind = words.next()?;
    let at_us = words.next()?.parse().ok()?;
    let said = match kind {
        "a" => Said::Attached {
            at_us,
            router: words.next()?.parse().ok()?,
            session: words.next()?.parse().ok()?,
        },
        "p" => Said::Published { at_us, seqs: seqs(&mut words)?, emitter: words.next()?.parse().ok()? },
        "e" => {
            let seqs = seqs(&mut words)?;
            let name = words.next()?;
            let &(end, _) = ENDS.iter().find(|&&(_, other)| other == name)?;
            Said::Ended { at_us, seqs, end, receivers: words.next()?.parse().ok()? }
        }
        "l" => Said::Left { at_us, pending: words.next()?.parse().ok()? },
        _ => return None,
    };
    words.next().is_none().then_some(said)
}

fn seqs<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Range<u64>> {
    let (start, end) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (start < end).then_some(start..end)
}

/// What a payload's number says: the publisher's process, its session, and a count of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Label {
    /// Which start of the publisher, from 0.
    pub(super) life: u16,
    /// The session in which the event was published; 0: before there was one.
    pub(super) session: u16,
    /// Events that the process published before.
    pub(super) count: u32,
}

impl Label {
    /// As the number of a payload.
    pub(super) const fn number(self) -> u64 {
        (self.life as u64) << 48 | (self.session as u64) << 32 | self.count as u64
    }

    /// From the number of a payload.
    #[expect(clippy::cast_possible_truncation, reason = "each field has its own bits")]
    pub(super) const fn of(number: u64) -> Self {
        Self { life: (number >> 48) as u16, session: (number >> 32) as u16, count: number as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_reads_back() {
        let all = [
            Said::Attached { at_us: 1, router: 2, session: 3 },
            Said::Published { at_us: 9, seqs: 4..u64::MAX, emitter: 11 },
            Said::Left { at_us: 8, pending: 0 },
        ];
        let ends = ENDS.map(|(end, _)| Said::Ended { at_us: 5, seqs: 6..7, end, receivers: 2 });
        for said in all.into_iter().chain(ends) {
            assert_eq!(said.to_string().parse(), Ok(said));
        }
    }

    #[test]
    fn half_a_line_is_no_line() {
        for line in ["", "e", "e 1 2 3 confirmed", "e 1 3 3 confirmed 1", "p 1 2 3 4 5", "x 1 2", "l 1 a"] {
            assert!(line.parse::<Said>().is_err(), "{line}");
        }
    }

    #[test]
    fn labels_fit_into_a_number() {
        let label = Label { life: 600, session: 65_535, count: u32::MAX };
        assert_eq!(Label::of(label.number()), label);
        assert_eq!(Label::of(Label { life: 1, session: 0, count: 0 }.number()).life, 1);
    }
}
