//! Writing run frames: for one reader, and for several receivers of one connection.

use super::hop::{HopHeader, PublisherOnStream, TagsOnStream, flag};
use super::kind;
use crate::varint;

/// Appends a run frame: `header` for this stream, `body` as it came.
#[inline(always)]
pub fn put_run(out: &mut Vec<u8>, header: &HopHeader<'_>, body: &[u8]) {
    put_head(out, header, None, body.len(), body.len());
    out.extend_from_slice(body);
}

/// Appends a run frame up to its body, which has `body_bytes` and comes from elsewhere.
#[inline]
pub fn put_run_head(out: &mut Vec<u8>, header: &HopHeader<'_>, body_bytes: usize) {
    put_head(out, header, None, body_bytes, 0);
}

/// Appends a frame that delivers a run to several receivers: `header` for this stream without
/// matched subscriptions, `targets` as [`Target::put`](super::Target::put) wrote them, at most
/// [`TARGETS_BYTES_MAX`](crate::limits::TARGETS_BYTES_MAX) bytes, `body` as it came.
#[inline(always)]
pub fn put_deliver(out: &mut Vec<u8>, header: &HopHeader<'_>, targets: &[u8], body: &[u8]) {
    put_head(out, header, Some(targets), body.len(), body.len());
    out.extend_from_slice(body);
}

/// Appends such a frame up to its body, which has `body_bytes` and comes from elsewhere.
#[inline]
pub fn put_deliver_head(out: &mut Vec<u8>, header: &HopHeader<'_>, targets: &[u8], body_bytes: usize) {
    put_head(out, header, Some(targets), body_bytes, 0);
}

/// Appends the head of a run's frame, with the targets if it has some, and makes room for `reserve`
/// bytes behind it. Inlined, so that frames without targets pay nothing for them.
#[inline(always)]
fn put_head(
    out: &mut Vec<u8>,
    header: &HopHeader<'_>,
    targets: Option<&[u8]>,
    body_bytes: usize,
    reserve: usize,
) {
    let kind = if targets.is_some() { kind::DELIVER } else { kind::RUN };
    let targets_bytes = targets.map_or(0, |targets| varint::size(targets.len() as u64) + targets.len());
    if let (TagsOnStream::Number(tags), PublisherOnStream::Number(publisher), None) =
        (header.tags, header.publisher, header.lane_seq)
    {
        // The common case, gathered first: room is made once, not for each integer.
        let flags = header.flags & flag::KNOWN;
        let numbers = varint::size(flags) + varint::size(tags) + varint::size(publisher);
        let hop = numbers + header.fields.len();
        let mut head = varint::Gathered::<{ 8 * 8 }>::default();
        head.put(kind);
        head.put((varint::size(hop as u64) + hop + targets_bytes + body_bytes) as u64);
        head.put(hop as u64);
        head.put(flags);
        head.put(tags);
        head.put(publisher);
        out.reserve(head.len() + header.fields.len() + targets_bytes + reserve);
        if let Some(targets) = targets
            && header.fields.is_empty()
        {
            head.put(targets.len() as u64);
            let is_few = head.put_few(targets);
            head.append_to(out);
            if !is_few {
                out.extend_from_slice(targets);
            }
            return;
        }
        head.append_to(out);
        if !header.fields.is_empty() {
            out.extend_from_slice(header.fields);
        }
    } else {
        let mut hop = Vec::with_capacity(64);
        header.encode(&mut hop);
        varint::put(out, kind);
        let hop_bytes = varint::size(hop.len() as u64) + hop.len();
        varint::put(out, (hop_bytes + targets_bytes + body_bytes) as u64);
        varint::put_prefixed(out, &hop);
    }
    if let Some(targets) = targets {
        varint::put_prefixed(out, targets);
    }
}
