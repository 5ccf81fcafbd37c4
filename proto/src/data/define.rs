//! Definitions: numbers that stand for tag sets, publishers and sources on one stream.

use super::kind;
use crate::error::DecodeError;
use crate::id::{Epoch, Incarnation, PublisherId, PublisherKey, RouterId};
use crate::tag::TagSetRef;
use crate::varint;

/// Appends a definition of a tag set number.
pub fn put_define_tags(out: &mut Vec<u8>, number: u64, tags: TagSetRef<'_>) {
    let canonical = tags.canonical();
    varint::put(out, kind::DEFINE_TAGS);
    varint::put(out, (varint::size(number) + canonical.len()) as u64);
    varint::put(out, number);
    out.extend_from_slice(canonical);
}

/// Appends a definition of a publisher number.
pub fn put_define_publisher(out: &mut Vec<u8>, number: u64, publisher: PublisherKey) {
    varint::put(out, kind::DEFINE_PUBLISHER);
    varint::put(out, (varint::size(number) + 16 + varint::size(publisher.epoch.0)) as u64);
    varint::put(out, number);
    put_publisher(out, publisher);
}

/// Appends a definition of a publisher number, with the index from which the publisher's id follows
/// ([`PublisherId::derive`]); on publish streams only.
pub fn put_define_indexed_publisher(out: &mut Vec<u8>, number: u64, publisher: PublisherKey, index: u64) {
    if index == 0 {
        return put_define_publisher(out, number, publisher);
    }
    varint::put(out, kind::DEFINE_PUBLISHER);
    let bytes = varint::size(number) + 16 + varint::size(publisher.epoch.0) + varint::size(index);
    varint::put(out, bytes as u64);
    varint::put(out, number);
    put_publisher(out, publisher);
    varint::put(out, index);
}

/// Where runs with positions were routed: one owner of a router, in one process life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Source {
    /// The router.
    pub router: RouterId,
    /// Its process life.
    pub incarnation: Incarnation,
    /// The core that owned the runs.
    pub owner: u16,
}

/// Appends a definition of a source number.
pub fn put_define_source(out: &mut Vec<u8>, number: u64, source: Source) {
    varint::put(out, kind::DEFINE_SOURCE);
    varint::put(out, (varint::size(number) + 16 + varint::size(source.owner.into())) as u64);
    varint::put(out, number);
    out.extend_from_slice(&source.router.0.to_be_bytes());
    out.extend_from_slice(&source.incarnation.0.to_be_bytes());
    varint::put(out, source.owner.into());
}

/// Reads a source: all of `bytes`.
pub(super) fn take_source(mut bytes: &[u8]) -> Result<Source, DecodeError> {
    let mut fixed = || -> Result<u64, DecodeError> {
        let raw = varint::take_bytes(&mut bytes, 8)?.try_into().map_err(|_| DecodeError::Truncated)?;
        Ok(u64::from_be_bytes(raw))
    };
    let (router, incarnation) = (RouterId(fixed()?), Incarnation(fixed()?));
    let owner =
        u16::try_from(varint::take(&mut bytes)?).map_err(|_| DecodeError::Malformed { what: "owner" })?;
    if !bytes.is_empty() {
        return Err(DecodeError::Malformed { what: "source" });
    }
    Ok(Source { router, incarnation, owner })
}

pub(super) fn put_publisher(out: &mut Vec<u8>, key: PublisherKey) {
    out.extend_from_slice(&key.publisher.0.to_be_bytes());
    varint::put(out, key.epoch.0);
}

/// Takes a publisher off the front of `bytes`.
pub(super) fn take_publisher(bytes: &mut &[u8]) -> Result<PublisherKey, DecodeError> {
    let raw: [u8; 16] = varint::take_bytes(bytes, 16)?.try_into().map_err(|_| DecodeError::Truncated)?;
    let epoch = Epoch(varint::take(bytes)?);
    Ok(PublisherKey { publisher: PublisherId(u128::from_be_bytes(raw)), epoch })
}
