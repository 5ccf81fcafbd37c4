//! Deliveries: a run for several receivers of one connection, on the one stream that they share.
//!
//! A Deliver frame is `hop header length, hop header, targets length, targets, run body`. A target
//! is `receiver << 1 | more`; with `more`, fields follow behind their length. A run for receiver 3,
//! and for receiver 5 because of its subscriptions 1 and 2, has the targets
//!
//! ```text
//! 06   0b 04  01 02 01 02
//! ```
//!
//! A run is written once however many receivers want it, and a receiver with one subscription costs
//! one or two bytes.

use super::hop::check_matched;
use super::optional::{Addressed, StandbySet};
use crate::error::DecodeError;
use crate::field::{self, Fields};
use crate::id::ReceiverNumber;
use crate::limits::{RECEIVERS_PER_CONNECTION_MAX, TARGETS_BYTES_MAX};
use crate::varint;

/// Numbers of a target's fields. Readers skip those they do not know.
pub mod target_field {
    /// Subscriptions that matched, varints in ascending order. Absent: subscription 0 alone.
    pub const MATCHED: u64 = 1;
    /// [`target_flag`](super::target_flag) bits.
    pub const FLAGS: u64 = 2;
    /// Ticket of a group's copy, and its generation.
    pub const TICKET: u64 = 3;
    /// What the run asks or answers: the value of
    /// [`hop_field::RECIPIENTS`](super::super::hop_field::RECIPIENTS).
    pub const ADDRESSED: u64 = 4;
    /// The standby set that the run was published for: the value of
    /// [`hop_field::SET`](super::super::hop_field::SET).
    pub const SET: u64 = 5;
}

/// Bits of a target's flags. Unknown bits are ignored.
pub mod target_flag {
    /// This receiver may have had the run before.
    pub const MAYBE_DUPLICATE: u64 = 1;
    /// The run comes from history.
    pub const REPLAYED: u64 = 1 << 1;
}

/// A receiver that a delivered run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target<'a> {
    /// The receiver.
    pub receiver: ReceiverNumber,
    /// Its subscriptions that matched, as encoded varints in ascending order; empty means
    /// subscription 0 alone.
    pub matched: &'a [u8],
    /// [`target_flag`] bits.
    pub flags: u64,
    /// Ticket of a group's copy, and its generation.
    pub ticket: Option<(u64, u64)>,
    /// What the run asks or answers, encoded as [`Addressed`](super::optional::Addressed); empty:
    /// nothing.
    pub addressed: &'a [u8],
    /// The standby set that the run was published for, encoded as
    /// [`StandbySet`](super::optional::StandbySet); empty: none.
    pub set: &'a [u8],
}

impl<'a> Target<'a> {
    /// A receiver whose subscription 0 alone matched.
    #[must_use]
    pub const fn plain(receiver: ReceiverNumber) -> Self {
        Self { receiver, matched: &[], flags: 0, ticket: None, addressed: &[], set: &[] }
    }

    /// The subscriptions that matched.
    pub fn matched(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut rest = self.matched;
        let mut implied = rest.is_empty().then_some(0);
        std::iter::from_fn(move || {
            implied
                .take()
                .or_else(|| varint::take(&mut rest).ok().and_then(|number| u32::try_from(number).ok()))
        })
    }

    /// Appends it to a frame's targets.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) {
        let number = u64::from(self.receiver.0) << 1;
        let has_more = !self.addressed.is_empty() || !self.set.is_empty();
        if self.matched.is_empty() && self.flags == 0 && self.ticket.is_none() && !has_more {
            varint::put(out, number);
            return;
        }
        varint::put(out, number | 1);
        let field = |bytes: usize| if bytes == 0 { 0 } else { 1 + varint::size(bytes as u64) + bytes };
        let flags = if self.flags == 0 { 0 } else { varint::size(self.flags) };
        let ticket =
            self.ticket.map_or(0, |(ticket, generation)| varint::size(ticket) + varint::size(generation));
        let fields = [self.matched.len(), flags, ticket, self.addressed.len(), self.set.len()];
        varint::put(out, fields.into_iter().map(field).sum::<usize>() as u64);
        if !self.matched.is_empty() {
            field::put_bytes(out, target_field::MATCHED, self.matched);
        }
        if self.flags != 0 {
            field::put_u64(out, target_field::FLAGS, self.flags);
        }
        if let Some((number, generation)) = self.ticket {
            varint::put(out, target_field::TICKET);
            varint::put(out, ticket as u64);
            varint::put(out, number);
            varint::put(out, generation);
        }
        if !self.addressed.is_empty() {
            field::put_bytes(out, target_field::ADDRESSED, self.addressed);
        }
        if !self.set.is_empty() {
            field::put_bytes(out, target_field::SET, self.set);
        }
    }

    /// Takes a target off the front of `bytes`.
    #[inline]
    fn take(bytes: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let number = varint::take(bytes)?;
        let receiver = u32::try_from(number >> 1)
            .ok()
            .filter(|&receiver| receiver < RECEIVERS_PER_CONNECTION_MAX)
            .ok_or(DecodeError::Malformed { what: "target" })?;
        let mut target = Self::plain(ReceiverNumber(receiver));
        if number & 1 == 1 {
            target.take_fields(varint::take_prefixed(bytes, TARGETS_BYTES_MAX, "target")?)?;
        }
        Ok(target)
    }

    fn take_fields(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        for item in Fields::new(bytes) {
            let item = item?;
            match item.number {
                target_field::MATCHED => {
                    check_matched(item.value)?;
                    self.matched = item.value;
                }
                target_field::FLAGS => self.flags = item.u64("target flags")?,
                target_field::TICKET => {
                    let mut value = item.value;
                    self.ticket = Some((varint::take(&mut value)?, varint::take(&mut value)?));
                    if !value.is_empty() {
                        return Err(DecodeError::Malformed { what: "ticket" });
                    }
                }
                target_field::ADDRESSED => {
                    Addressed::parse(item.value)?;
                    self.addressed = item.value;
                }
                target_field::SET => {
                    StandbySet::parse(item.value)?;
                    self.set = item.value;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The receivers of a delivered run, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets<'a> {
    bytes: &'a [u8],
}

impl<'a> Targets<'a> {
    /// Checks that `bytes` are targets, at least one.
    ///
    /// # Errors
    /// [`DecodeError`] when they are not.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::Missing { what: "target" });
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            Target::take(&mut rest)?;
        }
        Ok(Self { bytes })
    }

    /// The bytes, as they stand on the wire.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The targets, in the order in which they were written.
    pub fn iter(self) -> impl Iterator<Item = Target<'a>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || if rest.is_empty() { None } else { Target::take(&mut rest).ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::optional::REPLY_TOKEN_BYTES;
    use crate::limits::NAME_BYTES_MAX;

    #[test]
    fn targets_are_written_as_the_example_says() {
        let mut out = Vec::new();
        Target::plain(ReceiverNumber(3)).put(&mut out);
        Target { matched: &[1, 2], ..Target::plain(ReceiverNumber(5)) }.put(&mut out);
        assert_eq!(out, [0x06, 0x0b, 0x04, 0x01, 0x02, 0x01, 0x02]);
        let targets: Vec<_> = Targets::parse(&out).unwrap().iter().collect();
        assert_eq!(targets[0].matched().collect::<Vec<_>>(), [0]);
        assert_eq!(targets[1].matched().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_largest_target_fits() {
        let mut matched = Vec::new();
        (0..1024).for_each(|subscription| varint::put(&mut matched, subscription));
        let name = "n".repeat(NAME_BYTES_MAX);
        let token = Some([7; REPLY_TOKEN_BYTES]);
        let (request, deadline_us, replies) = (Some(varint::MAX), varint::MAX, varint::MAX);
        let to = vec![name.as_str()];
        let addressed =
            Addressed { to, reply_to: token, answers: token, request, deadline_us, replies }.encode();
        let target = Target {
            receiver: ReceiverNumber(RECEIVERS_PER_CONNECTION_MAX - 1),
            matched: &matched,
            flags: varint::MAX,
            ticket: Some((varint::MAX, varint::MAX)),
            addressed: &addressed,
            // A run with a set is written for one receiver at a time.
            set: &[],
        };
        let mut out = Vec::new();
        target.put(&mut out);
        assert!(out.len() * 4 <= TARGETS_BYTES_MAX);
        assert_eq!(Targets::parse(&out).unwrap().iter().collect::<Vec<_>>(), [target]);
    }

    #[test]
    fn what_is_no_target_is_refused_and_unknown_fields_are_skipped() {
        for bytes in [
            &[][..],
            &[0x01],                         // fields are missing
            &[0x48, 0x00],                   // receiver 1,024
            &[0x01, 0x02, 0x01],             // cut
            &[0x01, 0x04, 0x01, 0x02, 5, 1], // subscriptions that fall
            &[0x01, 0x03, 0x03, 0x01, 7],    // a ticket without a generation
        ] {
            assert!(Targets::parse(bytes).is_err(), "{bytes:?}");
        }
        let later = [0x03, 0x03, 0x09, 0x01, 0x00];
        let read = Targets::parse(&later).unwrap().iter().collect::<Vec<_>>();
        assert_eq!(read, [Target::plain(ReceiverNumber(1))]);
    }
}
