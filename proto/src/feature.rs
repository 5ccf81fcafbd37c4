//! Features: what a side can read beyond the first version of the protocol, told in Hello, Welcome
//! and PeerHello.
//!
//! A frame, field or value of a feature is sent only to a side that lists the feature. Who does not
//! know a feature's number ignores it, so that a list never has to be understood in full.
//!
//! ```
//! use millrace_proto::feature::{self, Features};
//! let mine = Features::default().with(feature::DELIVERIES).with(feature::PROOF);
//! assert!(mine.contains(feature::PROOF) && !mine.contains(feature::QUENCH));
//! assert_eq!(mine.iter().collect::<Vec<_>>(), [1, 2]);
//! ```

use crate::control::Value;
use crate::error::DecodeError;
use crate::field::{self, Field};

/// One delivery stream per connection: preamble DeliverAll, frames Deliver, ReceiverGap,
/// ReceiverEnd.
pub const DELIVERIES: u64 = 1;
/// Publisher ids that are proven by a secret.
pub const PROOF: u64 = 2;
/// Confirm levels routed and delivered: Outcome, Ack; legs on lanes.
pub const CONFIRMS: u64 = 3;
/// Positions, history, cursors: DefineSource, Replay, Cursor, vectors in Subscribed.
pub const HISTORY: u64 = 4;
/// Groups with levels: tickets, Member, hand-backs.
pub const GROUPS: u64 = 5;
/// Standby publishers: sets, generations, Standby, Standing.
pub const STANDBY: u64 = 6;
/// Named receivers, recipients, requests and replies.
pub const NAMES: u64 = 7;
/// Quench, Unquench, Quenched.
pub const QUENCH: u64 = 8;
/// Forwarding between clusters: cluster path, Demand.
pub const FORWARDING: u64 = 9;
/// Tags that rules add, with the rules' version.
pub const RULES: u64 = 10;
/// Events that expire.
pub const EXPIRY: u64 = 11;
/// Run bodies that are encoded (flag bit 6).
pub const ENCODED: u64 = 12;
/// Confirm level kept: on so many routers.
pub const KEPT: u64 = 13;
/// Receivers that move without a gap: Move with a mark, Mark, MarkRequest.
pub const MOVES: u64 = 14;
/// Interest that tells the literals of its payload patterns.
pub const LITERALS: u64 = 15;
/// Publishers wait for receivers behind a peer: Hold.
pub const PACING: u64 = 16;
/// History survives its router, in files: a router that begins anew still has what it kept.
pub const FILES: u64 = 17;
/// Frames of a link between clusters that are packed together: Packed.
pub const PACKED: u64 = 18;

/// A set of features. Numbers from 64 are not kept: no version of this library knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u64);

impl Features {
    /// This set and one feature more; a number from 64 adds none.
    #[must_use]
    pub const fn with(self, feature: u64) -> Self {
        Self(self.0 | bit(feature))
    }

    /// Whether the set has a feature.
    #[must_use]
    pub const fn contains(self, feature: u64) -> bool {
        self.0 & bit(feature) != 0
    }

    /// What both sides know.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The features, in rising order.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        (0..64).filter(move |&feature| self.contains(feature))
    }
}

const fn bit(feature: u64) -> u64 {
    if feature < 64 { 1 << feature } else { 0 }
}

impl Value for Features {
    fn put(&self, number: u64, out: &mut Vec<u8>) {
        for feature in self.iter() {
            field::put_u64(out, number, feature);
        }
    }
    fn merge(&mut self, field: &Field<'_>, what: &'static str) -> Result<(), DecodeError> {
        *self = self.with(field.u64(what)?);
        Ok(())
    }
}
