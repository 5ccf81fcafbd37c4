//! Frames: `type, length, body`, the first two varints. All streams are sequences of frames behind a stream preamble.
//!
//! Types are even when a reader must understand them (an unknown one closes the connection) and odd when it may skip
//! them. [`FrameReader`] turns chunks of a stream, cut anywhere, into whole frames; it copies only frames that straddle
//! two chunks, and its memory is bounded by the largest frame allowed.
//!
//! A unidirectional stream starts with a preamble: one varint that says what the stream is ([`StreamKind`]), then
//! whatever that kind needs. The preamble is itself a frame, the first one of the stream.

use crate::error::DecodeError;
use crate::varint;

/// What a stream is for, as the type of the first frame on it.
pub mod stream_kind {
    /// Client to router: published events. Body: fields, none yet.
    pub const PUBLISH: u64 = 0x50;
    /// Router to client: one receiver's events. Body: field 1 = receiver number.
    pub const DELIVER: u64 = 0x52;
    /// Router to router: one lane's events. Body: field 1 = first lane seq, field 2 = lane epoch.
    pub const LANE: u64 = 0x54;
}

/// Appends a frame whose body `fill` writes. For control frames; hot frames are written in place.
pub fn put(out: &mut Vec<u8>, kind: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    fill(&mut body);
    varint::put(out, kind);
    varint::put_prefixed(out, &body);
}

/// Splits one frame off the front of `bytes`: type, body, and bytes taken; `None` when the frame is not complete.
///
/// # Errors
/// [`DecodeError::Limit`] when the body is longer than `body_max`: known before the body has arrived.
#[inline]
pub fn split(bytes: &[u8], body_max: usize) -> Result<Option<(u64, &[u8], usize)>, DecodeError> {
    let Some((kind, kind_size)) = varint::peek(bytes) else { return Ok(None) };
    let Some((len, len_size)) = varint::peek(&bytes[kind_size..]) else { return Ok(None) };
    let len = usize::try_from(len)
        .ok()
        .filter(|&len| len <= body_max)
        .ok_or(DecodeError::Limit { what: "frame length" })?;
    let start = kind_size + len_size;
    let Some(body) = bytes.get(start..start + len) else { return Ok(None) };
    Ok(Some((kind, body, start + len)))
}

/// Cuts a stream, which arrives in chunks of any size, into frames.
///
/// After an error the reader is poisoned: the stream cannot be read further.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// The start of a frame whose end has not arrived; empty otherwise.
    partial: Vec<u8>,
}

impl FrameReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held of an incomplete frame.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.len()
    }

    /// Feeds the next chunk; `each` gets the type and body of every frame that is complete, in order.
    ///
    /// # Errors
    /// Whatever `each` returns, and [`DecodeError::Limit`] (converted) for a frame longer than `body_max`.
    pub fn feed<E: From<DecodeError>>(
        &mut self,
        mut chunk: &[u8],
        body_max: usize,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.partial.is_empty() {
            chunk = self.complete(chunk, body_max, &mut each)?;
        }
        while let Some((kind, body, taken)) = split(chunk, body_max)? {
            each(kind, body)?;
            chunk = &chunk[taken..];
        }
        self.partial.extend_from_slice(chunk);
        Ok(())
    }

    /// Completes the partial frame from `chunk` and returns what is left of it.
    fn complete<'c, E: From<DecodeError>>(
        &mut self,
        mut chunk: &'c [u8],
        body_max: usize,
        each: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<&'c [u8], E> {
        // The header needs at most 16 bytes; add them one by one until the length is known.
        let total = loop {
            if let Some(total) = total_len(&self.partial, body_max)? {
                break total;
            }
            let Some((&byte, rest)) = chunk.split_first() else { return Ok(chunk) };
            self.partial.push(byte);
            chunk = rest;
        };
        let missing = total.saturating_sub(self.partial.len()).min(chunk.len());
        self.partial.extend_from_slice(&chunk[..missing]);
        chunk = &chunk[missing..];
        if let Some((kind, body, _)) = split(&self.partial, body_max)? {
            each(kind, body)?;
            self.partial.clear();
            if self.partial.capacity() > 16 * 1024 {
                self.partial = Vec::new();
            }
        }
        Ok(chunk)
    }
}

/// Bytes of the frame that starts `bytes`, once its header is there.
fn total_len(bytes: &[u8], body_max: usize) -> Result<Option<usize>, DecodeError> {
    let Some((_, kind_size)) = varint::peek(bytes) else { return Ok(None) };
    let Some((len, len_size)) = varint::peek(&bytes[kind_size..]) else { return Ok(None) };
    let len = usize::try_from(len)
        .ok()
        .filter(|&len| len <= body_max)
        .ok_or(DecodeError::Limit { what: "frame length" })?;
    Ok(Some(kind_size + len_size + len))
}

/// What to do with a frame type that this version does not know: skip odd ones, refuse even ones.
///
/// # Errors
/// [`DecodeError::UnknownFrame`] for even types.
#[inline]
pub fn skip_unknown(kind: u64) -> Result<(), DecodeError> {
    if kind % 2 == 0 { Err(DecodeError::UnknownFrame { kind }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cut_anywhere_come_out_whole() {
        let mut stream = Vec::new();
        for len in [0usize, 1, 5, 63, 64, 300, 20_000] {
            put(&mut stream, 0x14, |body| body.extend(std::iter::repeat_n(len as u8, len)));
        }
        for step in [1usize, 2, 3, 7, 64, 1000, stream.len()] {
            let mut reader = FrameReader::new();
            let mut seen = Vec::new();
            for chunk in stream.chunks(step) {
                reader
                    .feed::<DecodeError>(chunk, 32 * 1024, |kind, body| {
                        seen.push((kind, body.len()));
                        Ok(())
                    })
                    .unwrap();
            }
            let lens: Vec<_> = seen.iter().map(|&(_, len)| len).collect();
            assert_eq!(lens, [0, 1, 5, 63, 64, 300, 20_000]);
            assert_eq!(reader.buffered(), 0);
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_before_its_body_arrives() {
        let mut head = Vec::new();
        varint::put(&mut head, 0x14);
        varint::put(&mut head, 1_000_000);
        let mut reader = FrameReader::new();
        let refused = reader.feed::<DecodeError>(&head, 1000, |_, _| Ok(()));
        assert_eq!(refused, Err(DecodeError::Limit { what: "frame length" }));
    }
}
