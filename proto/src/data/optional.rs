//! What stands in the optional fields of a hop header.
//!
//! [`HopHeader::fields`] holds these fields as they came, so that who hands a run on copies them
//! without knowing them. Who needs one looks for it here. Each value has one form, given at its
//! type.

use super::hop::{HopHeader, hop_field};
use crate::error::DecodeError;
use crate::field::{self, Fields};
use crate::id::ClusterId;
use crate::limits::{CLUSTER_PATH_MAX, EVENTS_PER_RUN_MAX, NAME_BYTES_MAX, RECIPIENTS_MAX};
use crate::tag::TagSetRef;
use crate::varint;

/// Bytes of a reply token: router (8), session generation (4), request number (4), keyed hash (8).
pub const REPLY_TOKEN_BYTES: usize = 24;

impl<'a> HopHeader<'a> {
    /// The value of an optional field, if the header has it.
    #[must_use]
    pub fn field(&self, number: u64) -> Option<&'a [u8]> {
        Fields::new(self.fields).flatten().filter(|item| item.number == number).last().map(|item| item.value)
    }

    /// Source number and position: two integers.
    ///
    /// # Errors
    /// [`DecodeError`] when the field is there and is not so.
    pub fn position(&self) -> Result<Option<(u64, u64)>, DecodeError> {
        let Some(mut value) = self.field(hop_field::POSITION) else { return Ok(None) };
        let position = (varint::take(&mut value)?, varint::take(&mut value)?);
        ended(value, "position")?;
        Ok(Some(position))
    }

    /// The ticket of a group's copy.
    ///
    /// # Errors
    /// [`DecodeError`] when the field is there and malformed.
    pub fn ticket(&self) -> Result<Option<GroupTicket<'a>>, DecodeError> {
        self.field(hop_field::TICKET).map(GroupTicket::parse).transpose()
    }

    /// Recipients, request, and reply token.
    ///
    /// # Errors
    /// [`DecodeError`] when the field is there and malformed.
    pub fn addressed(&self) -> Result<Option<Addressed<'a>>, DecodeError> {
        self.field(hop_field::RECIPIENTS).map(Addressed::parse).transpose()
    }

    /// The clusters that the run has crossed: eight bytes each, the first one first.
    ///
    /// # Errors
    /// [`DecodeError`] when the field is there and malformed, or longer than a path may be.
    pub fn cluster_path(&self) -> Result<impl Iterator<Item = ClusterId> + use<'a>, DecodeError> {
        let (path, rest) = self.field(hop_field::CLUSTER_PATH).unwrap_or_default().as_chunks::<8>();
        ended(rest, "cluster path")?;
        if path.len() > CLUSTER_PATH_MAX {
            return Err(DecodeError::Limit { what: "cluster path" });
        }
        Ok(path.iter().map(|id| ClusterId(u64::from_be_bytes(*id))))
    }

    /// The rules' version, and the tags that routers added: an integer, and a tag set in canonical
    /// form.
    ///
    /// # Errors
    /// [`DecodeError`] when the field is there and malformed.
    pub fn added_tags(&self) -> Result<Option<(u64, TagSetRef<'a>)>, DecodeError> {
        let Some(mut value) = self.field(hop_field::ADDED_TAGS) else { return Ok(None) };
        let version = varint::take(&mut value)?;
        Ok(Some((version, TagSetRef::parse(value)?)))
    }

    /// The set that the run's publisher takes effect for.
    ///
    /// # Errors
    /// [`DecodeError`] when the field is there and malformed.
    pub fn standby_set(&self) -> Result<Option<StandbySet<'a>>, DecodeError> {
        self.field(hop_field::SET).map(StandbySet::parse).transpose()
    }

    /// Microseconds that the run had left when it was written: an integer. Each writer takes off
    /// what passed with it.
    ///
    /// # Errors
    /// [`DecodeError`] when the field is there and is not so.
    pub fn expiry_us(&self) -> Result<Option<u64>, DecodeError> {
        let Some(value) = self.field(hop_field::EXPIRY) else { return Ok(None) };
        field::Field { number: hop_field::EXPIRY, value }.u64("expiry").map(Some)
    }
}

fn ended(rest: &[u8], what: &'static str) -> Result<(), DecodeError> {
    if rest.is_empty() { Ok(()) } else { Err(DecodeError::Malformed { what }) }
}

fn name<'a>(value: &'a [u8], what: &'static str) -> Result<&'a str, DecodeError> {
    if value.len() > NAME_BYTES_MAX {
        return Err(DecodeError::Limit { what });
    }
    std::str::from_utf8(value).map_err(|_| DecodeError::Malformed { what })
}

/// A group's copy of a run: `ticket, generation, group`, two integers and then the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupTicket<'a> {
    /// The ticket: the owner's number of the copy.
    pub ticket: u64,
    /// How many times it was given out before.
    pub generation: u64,
    /// The group.
    pub group: &'a str,
}

impl<'a> GroupTicket<'a> {
    fn parse(mut value: &'a [u8]) -> Result<Self, DecodeError> {
        let (ticket, generation) = (varint::take(&mut value)?, varint::take(&mut value)?);
        Ok(Self { ticket, generation, group: name(value, "group")? })
    }

    /// Appends the field.
    pub fn put(&self, out: &mut Vec<u8>) {
        field::put_nested(out, hop_field::TICKET, |value| {
            varint::put(value, self.ticket);
            varint::put(value, self.generation);
            value.extend_from_slice(self.group.as_bytes());
        });
    }
}

/// Whom a run is for in place of those whose selectors match, and what it asks or answers: nested
/// fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addressed<'a> {
    /// Field 1, for each: names of receivers. None: those whose selectors match.
    pub to: Vec<&'a str>,
    /// Field 2: the run is a request, and this token is where replies go. Written by the
    /// requester's router.
    pub reply_to: Option<[u8; REPLY_TOKEN_BYTES]>,
    /// Field 3: the run is a reply, to the request with this token.
    pub answers: Option<[u8; REPLY_TOKEN_BYTES]>,
    /// Field 4: the requester's number of the request, on its publish stream and in replies to it.
    pub request: Option<u64>,
    /// Field 5: microseconds that a request has left; each writer takes off what passed with it.
    pub deadline_us: u64,
    /// Field 6: how many replies a request wants; its router ends it with the last of them. 0: as
    /// many as come until its deadline. For the requester's router, which passes it on to nobody.
    pub replies: u64,
}

impl<'a> Addressed<'a> {
    /// Reads the field's value.
    ///
    /// # Errors
    /// [`DecodeError`] when it is malformed, or names too many recipients.
    pub fn parse(value: &'a [u8]) -> Result<Self, DecodeError> {
        let mut read = Self::default();
        let token = |item: &field::Field<'_>| {
            item.value.try_into().map(Some).map_err(|_| DecodeError::Malformed { what: "reply token" })
        };
        for item in Fields::new(value) {
            let item = item?;
            match item.number {
                1 if read.to.len() == RECIPIENTS_MAX => {
                    return Err(DecodeError::Limit { what: "recipients" });
                }
                1 => read.to.push(name(item.value, "recipient")?),
                2 => read.reply_to = token(&item)?,
                3 => read.answers = token(&item)?,
                4 => read.request = Some(item.u64("request")?),
                5 => read.deadline_us = item.u64("deadline")?,
                6 => read.replies = item.u64("replies")?,
                _ => {}
            }
        }
        Ok(read)
    }

    /// Appends the field.
    pub fn put(&self, out: &mut Vec<u8>) {
        field::put_bytes(out, hop_field::RECIPIENTS, &self.encode());
    }

    /// The field's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::new();
        self.to.iter().for_each(|to| field::put_str(&mut value, 1, to));
        if let Some(token) = &self.reply_to {
            field::put_bytes(&mut value, 2, token);
        }
        if let Some(token) = &self.answers {
            field::put_bytes(&mut value, 3, token);
        }
        if let Some(request) = self.request {
            field::put_u64(&mut value, 4, request);
        }
        if self.deadline_us != 0 {
            field::put_u64(&mut value, 5, self.deadline_us);
        }
        if self.replies != 0 {
            field::put_u64(&mut value, 6, self.replies);
        }
        value
    }
}

/// The set of a standby publisher: `generation, set length, set`, then nothing, or for each event
/// of the run its source seq, the first as it is, each other one as what it exceeds the one before
/// by. A holder that began behind a hole writes its generation in eight bytes although fewer hold
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbySet<'a> {
    /// The set.
    pub set: &'a str,
    /// The generation that the publisher holds it in.
    pub generation: u64,
    /// The holder does not know what came between the numbers that routers had had before it and
    /// its own first one. Generations of 2^30 and more do not say so.
    pub is_behind_hole: bool,
    /// Encoded source seqs.
    seqs: &'a [u8],
}

impl<'a> StandbySet<'a> {
    /// Reads the field's value.
    ///
    /// # Errors
    /// [`DecodeError`] when it is malformed.
    pub fn parse(mut value: &'a [u8]) -> Result<Self, DecodeError> {
        let whole = value.len();
        let generation = varint::take(&mut value)?;
        let is_behind_hole = whole - value.len() > varint::size(generation);
        let set = name(varint::take_prefixed(&mut value, NAME_BYTES_MAX, "set")?, "set")?;
        let (mut rest, mut count, mut seq) = (value, 0, 0_u64);
        while !rest.is_empty() {
            let more = varint::take(&mut rest)?;
            seq = seq.saturating_add(more);
            count += 1;
            if count > EVENTS_PER_RUN_MAX || seq > varint::MAX || (count > 1 && more == 0) {
                return Err(DecodeError::Malformed { what: "source seqs" });
            }
        }
        Ok(Self { set, generation, is_behind_hole, seqs: value })
    }

    /// The source seqs as they are encoded; empty when the application gave none.
    #[must_use]
    pub const fn encoded_seqs(&self) -> &'a [u8] {
        self.seqs
    }

    /// The events' source seqs, in rising order; none when the application gave none.
    pub fn source_seqs(&self) -> impl Iterator<Item = u64> + use<'a> {
        let (mut rest, mut seq) = (self.seqs, 0);
        std::iter::from_fn(move || {
            seq += varint::take(&mut rest).ok()?;
            Some(seq)
        })
    }

    /// Appends the field: source seqs rise, and there are none or one for each event of the run.
    pub fn put(out: &mut Vec<u8>, set: &str, generation: u64, source_seqs: impl Iterator<Item = u64>) {
        let seqs = |value: &mut Vec<u8>| {
            source_seqs.fold(0, |before, seq| {
                varint::put(value, seq.saturating_sub(before));
                seq
            });
        };
        StandbySet { set, generation, is_behind_hole: false, seqs: &[] }.put_with(out, seqs);
    }

    /// The set of a run whose source seqs are encoded already, as [`put`](Self::put) does it.
    #[must_use]
    pub const fn with_encoded(set: &'a str, generation: u64, is_behind_hole: bool, seqs: &'a [u8]) -> Self {
        Self { set, generation, is_behind_hole, seqs }
    }

    /// Appends the field as it is.
    pub fn put_again(&self, out: &mut Vec<u8>) {
        self.put_with(out, |value| value.extend_from_slice(self.seqs));
    }

    fn put_with(&self, out: &mut Vec<u8>, put_seqs: impl FnOnce(&mut Vec<u8>)) {
        field::put_nested(out, hop_field::SET, |value| {
            let put_generation = if self.is_behind_hole { varint::put_wide } else { varint::put };
            put_generation(value, self.generation);
            varint::put_prefixed(value, self.set.as_bytes());
            put_seqs(value);
        });
    }
}

/// Appends a run's source number and position.
pub fn put_position(out: &mut Vec<u8>, source: u64, position: u64) {
    varint::put(out, hop_field::POSITION);
    varint::put(out, (varint::size(source) + varint::size(position)) as u64);
    varint::put(out, source);
    varint::put(out, position);
}

/// Appends the clusters that a run has crossed.
pub fn put_cluster_path(out: &mut Vec<u8>, path: impl Iterator<Item = ClusterId>) {
    field::put_nested(out, hop_field::CLUSTER_PATH, |value| {
        path.for_each(|id| value.extend_from_slice(&id.0.to_be_bytes()));
    });
}

/// Appends the tags that rules of a version added.
pub fn put_added_tags(out: &mut Vec<u8>, version: u64, tags: TagSetRef<'_>) {
    field::put_nested(out, hop_field::ADDED_TAGS, |value| {
        varint::put(value, version);
        value.extend_from_slice(tags.canonical());
    });
}

/// Appends how many microseconds a run has left.
pub fn put_expiry_us(out: &mut Vec<u8>, left: u64) {
    field::put_u64(out, hop_field::EXPIRY, left);
}
