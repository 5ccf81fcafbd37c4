//! Frames: `type, length, body`, the first two varints. All streams are sequences of frames behind
//! a stream preamble.
//!
//! Types are even when a reader must understand them (an unknown one closes the connection) and odd
//! when it may skip them. [`FrameReader`] turns chunks of a stream, cut anywhere, into whole
//! frames; it copies only frames that straddle two chunks, and its memory is bounded by the largest
//! frame allowed.
//!
//! A unidirectional stream starts with a preamble: its first frame says what the stream is
//! ([`crate::stream`]).

use std::ops::Range;

use bytes::Bytes;

use crate::error::DecodeError;
use crate::varint;

/// Appends a frame whose body `fill` writes. For control frames; hot frames are written in place.
pub fn put(out: &mut Vec<u8>, kind: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    fill(&mut body);
    varint::put(out, kind);
    varint::put_prefixed(out, &body);
}

/// A frame at the front of some bytes: type, body, and how many bytes it takes.
pub type Split<'a> = (u64, &'a [u8], usize);

/// Splits one frame off the front of `bytes`; `None` when the frame is not complete.
///
/// # Errors
/// [`DecodeError::Limit`] when the body is longer than `body_max`: known before the body has
/// arrived.
#[inline]
pub fn split(bytes: &[u8], body_max: usize) -> Result<Option<Split<'_>>, DecodeError> {
    let Some((kind, range)) = locate(bytes, body_max)? else { return Ok(None) };
    let end = range.end;
    Ok(bytes.get(range).map(|body| (kind, body, end)))
}

/// The type of the frame that starts `bytes` and where its body is, once its header is there.
#[inline(always)]
fn locate(bytes: &[u8], body_max: usize) -> Result<Option<(u64, Range<usize>)>, DecodeError> {
    let Some((kind, kind_size)) = varint::peek(bytes) else { return Ok(None) };
    let Some((len, len_size)) = varint::peek(&bytes[kind_size..]) else { return Ok(None) };
    let len = usize::try_from(len)
        .ok()
        .filter(|&len| len <= body_max)
        .ok_or(DecodeError::Limit { what: "frame length" })?;
    let start = kind_size + len_size;
    Ok(Some((kind, start..start + len)))
}

/// A straddling frame of at least this many bytes is gathered in a buffer of its own, which can be
/// kept without a copy.
const SHARED_FROM: usize = 8 * 1024;

/// Bytes that a reader holds back for later frames, at most, while no frame is incomplete.
const IDLE_BYTES_MAX: usize = 256;

/// Bytes reserved for a frame of which little has arrived: its length is a promise until then.
/// Enough for what a client gathers before it writes.
const PROMISE_BYTES_MAX: usize = 18 * 1024;

/// Frames that [`FrameReader::feed_windows`] hands over at once, at most.
pub const WINDOW_FRAMES: usize = 16;

/// A whole frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: u64,
    /// Its body.
    pub body: &'a [u8],
    /// The buffer that `body` lies in, when it holds this frame alone: to keep a part of the body
    /// without a copy. Who keeps a small part keeps all of it.
    pub buffer: Option<&'a Bytes>,
}

/// Cuts a stream, which arrives in chunks of any size, into frames.
///
/// After an error the reader is poisoned: the stream cannot be read further, and every later chunk
/// is refused. A stream that ends while [`buffered`](Self::buffered) is not 0 was cut within a
/// frame.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// The start of a frame whose end has not arrived; empty otherwise.
    partial: Vec<u8>,
    poisoned: bool,
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

    /// Feeds the next chunk; `each` gets the type and body of every frame that is complete, in
    /// order.
    ///
    /// # Errors
    /// Whatever `each` returns, [`DecodeError::Limit`] (converted) for a frame longer than
    /// `body_max`, and [`DecodeError::Malformed`] after an earlier error.
    pub fn feed<E: From<DecodeError>>(
        &mut self,
        chunk: &[u8],
        body_max: usize,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if std::mem::replace(&mut self.poisoned, true) {
            return Err(DecodeError::Malformed { what: "stream" }.into());
        }
        let mut chunk = chunk;
        if !self.partial.is_empty() {
            chunk = self.complete(chunk, body_max, false, &mut |frame| each(frame.kind, frame.body))?;
        }
        while let Some((kind, body, taken)) = split(chunk, body_max)? {
            each(kind, body)?;
            chunk = &chunk[taken..];
        }
        self.rest(chunk, body_max)
    }

    /// Like [`feed`](Self::feed), for readers that pass on what they read, and look at what comes
    /// next before they do: `window` gets up to [`WINDOW_FRAMES`] whole frames at once. A frame
    /// that straddles chunks comes alone; when it is large, with a buffer of its own.
    ///
    /// # Errors
    /// As [`feed`](Self::feed). The frames before one that is too long are handed over first.
    #[inline]
    pub fn feed_windows<E: From<DecodeError>>(
        &mut self,
        mut chunk: &[u8],
        body_max: usize,
        mut window: impl FnMut(&[Frame<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        if std::mem::replace(&mut self.poisoned, true) {
            return Err(DecodeError::Malformed { what: "stream" }.into());
        }
        if !self.partial.is_empty() {
            chunk = self.complete(chunk, body_max, true, &mut |frame| window(&[frame]))?;
        }
        let mut frames = [Frame { kind: 0, body: &[], buffer: None }; WINDOW_FRAMES];
        loop {
            let mut len = 0;
            let mut wrong = None;
            while let Some(place) = frames.get_mut(len) {
                match split(chunk, body_max) {
                    Ok(Some((kind, body, taken))) => {
                        *place = Frame { kind, body, buffer: None };
                        len += 1;
                        chunk = &chunk[taken..];
                    }
                    Ok(None) => break,
                    Err(error) => {
                        wrong = Some(error);
                        break;
                    }
                }
            }
            if len > 0 {
                window(&frames[..len])?;
            }
            if let Some(error) = wrong {
                return Err(error.into());
            }
            if len < WINDOW_FRAMES {
                return self.rest(chunk, body_max);
            }
        }
    }

    /// Keeps the begin of a frame that `chunk` ends with.
    fn rest<E: From<DecodeError>>(&mut self, chunk: &[u8], body_max: usize) -> Result<(), E> {
        if !chunk.is_empty() {
            self.gather(chunk, locate(chunk, body_max)?.map_or(0, |(_, body)| body.end));
        } else if self.partial.is_empty() && self.partial.capacity() > IDLE_BYTES_MAX {
            self.partial = Vec::new();
        }
        self.poisoned = false;
        Ok(())
    }

    /// Adds `bytes` to the partial frame, which will have `total` bytes if that is known.
    fn gather(&mut self, bytes: &[u8], total: usize) {
        if self.partial.capacity() - self.partial.len() < bytes.len() {
            let arrived = self.partial.len() + bytes.len();
            // Never more than the frame takes, and little for a promise; beyond it four times what
            // has arrived.
            let wanted = total.min(PROMISE_BYTES_MAX.max(arrived.saturating_mul(4))).max(arrived);
            self.partial.reserve_exact(wanted - self.partial.len());
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Completes the partial frame from `chunk` and returns what is left of it.
    fn complete<'c, E: From<DecodeError>>(
        &mut self,
        mut chunk: &'c [u8],
        body_max: usize,
        share: bool,
        each: &mut impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<&'c [u8], E> {
        // The header needs at most 16 bytes; add them one by one until the length is known.
        let (kind, body) = loop {
            if let Some(found) = locate(&self.partial, body_max)? {
                break found;
            }
            let Some((&byte, rest)) = chunk.split_first() else { return Ok(chunk) };
            self.gather(&[byte], 0);
            chunk = rest;
        };
        let missing = body.end.saturating_sub(self.partial.len()).min(chunk.len());
        self.gather(&chunk[..missing], body.end);
        chunk = &chunk[missing..];
        if self.partial.len() < body.end {
            return Ok(chunk);
        }
        let mut whole = std::mem::take(&mut self.partial);
        if share && body.end >= SHARED_FROM {
            let buffer = Bytes::from(whole);
            each(Frame { kind, body: &buffer[body], buffer: Some(&buffer) })?;
        } else {
            each(Frame { kind, body: &whole[body], buffer: None })?;
            whole.clear();
            self.partial = whole;
        }
        Ok(chunk)
    }
}

/// What to do with a frame type that this version does not know: skip odd ones, refuse even ones.
///
/// # Errors
/// [`DecodeError::UnknownFrame`] for even types.
#[inline]
pub fn skip_unknown(kind: u64) -> Result<(), DecodeError> {
    if kind.is_multiple_of(2) { Err(DecodeError::UnknownFrame { kind }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cut_anywhere_come_out_whole() {
        let mut stream = Vec::new();
        for len in [0usize, 1, 5, 63, 64, 300, 20_000] {
            put(&mut stream, 0x14, |body| body.extend(std::iter::repeat_n(7, len)));
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
    fn windows_hand_over_the_same_frames_in_order() {
        let mut stream = Vec::new();
        for len in 0..40 {
            put(&mut stream, 0x14, |body| body.extend(std::iter::repeat_n(7, len * 3)));
        }
        for step in [1usize, 7, 64, 700, stream.len()] {
            let (mut reader, mut seen, mut largest) = (FrameReader::new(), Vec::new(), 0);
            for chunk in stream.chunks(step) {
                reader
                    .feed_windows::<DecodeError>(chunk, 1000, |frames| {
                        largest = largest.max(frames.len());
                        seen.extend(frames.iter().map(|frame| frame.body.len()));
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(seen, (0..40).map(|len| len * 3).collect::<Vec<_>>(), "{step}");
            assert!(largest <= WINDOW_FRAMES && (step < stream.len() || largest == WINDOW_FRAMES));
            assert_eq!(reader.buffered(), 0);
        }
    }

    #[test]
    fn frames_before_one_that_is_too_long_are_handed_over() {
        let mut stream = Vec::new();
        (0..3).for_each(|_| put(&mut stream, 0x14, |body| body.extend([7; 10])));
        put(&mut stream, 0x14, |body| body.extend([7; 2000]));
        let (mut reader, mut seen) = (FrameReader::new(), 0);
        let refused = reader.feed_windows::<DecodeError>(&stream, 1000, |frames| {
            seen += frames.len();
            Ok(())
        });
        assert_eq!((refused, seen), (Err(DecodeError::Limit { what: "frame length" }), 3));
        let after = reader.feed_windows::<DecodeError>(&[0x15, 0x00], 1000, |_| panic!("poisoned"));
        assert_eq!(after, Err(DecodeError::Malformed { what: "stream" }));
    }

    fn low_byte(i: usize) -> u8 {
        i.to_le_bytes()[0]
    }

    #[test]
    fn large_frames_that_straddle_chunks_come_with_a_buffer_of_their_own() {
        let mut stream = Vec::new();
        for len in [100usize, SHARED_FROM, 300_000, 5] {
            put(&mut stream, 0x14, |body| body.extend((0..len).map(low_byte)));
        }
        for step in [7usize, 1000, stream.len()] {
            let (mut reader, mut seen) = (FrameReader::new(), Vec::new());
            for chunk in stream.chunks(step) {
                reader
                    .feed_windows::<DecodeError>(chunk, 1 << 20, |frames| {
                        for frame in frames {
                            assert!(frame.body.iter().enumerate().all(|(i, &byte)| byte == low_byte(i)));
                            let kept = frame.buffer.map(|buffer| buffer.slice_ref(frame.body));
                            assert!(kept.as_ref().is_none_or(|kept| kept == frame.body));
                            assert!(frame.buffer.is_none_or(|buffer| buffer.len() <= frame.body.len() + 16));
                            seen.push((frame.body.len(), kept.is_some()));
                        }
                        Ok(())
                    })
                    .unwrap();
            }
            let whole = step == stream.len();
            assert_eq!(seen, [(100, false), (SHARED_FROM, !whole), (300_000, !whole), (5, false)], "{step}");
            assert!(reader.partial.capacity() <= IDLE_BYTES_MAX, "little is held back");
        }
    }

    #[test]
    fn a_promise_of_length_reserves_little() {
        let mut head = Vec::new();
        varint::put(&mut head, 0x14);
        varint::put(&mut head, 1_000_000_000);
        let mut reader = FrameReader::new();
        reader.feed::<DecodeError>(&head, usize::MAX, |_, _| Ok(())).unwrap();
        assert!(reader.partial.capacity() <= PROMISE_BYTES_MAX);
        for _ in 0..1000 {
            reader.feed::<DecodeError>(&[0; 100], usize::MAX, |_, _| Ok(())).unwrap();
            assert!(reader.partial.capacity() <= PROMISE_BYTES_MAX.max(5 * reader.buffered()));
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
        let after = reader.feed::<DecodeError>(&[0x15, 0x00], 1000, |_, _| panic!("poisoned"));
        assert_eq!(after, Err(DecodeError::Malformed { what: "stream" }));
    }

    #[test]
    fn a_frame_that_was_refused_is_not_read_again() {
        for cut in 0..4 {
            let mut reader = FrameReader::new();
            let mut seen = 0;
            let frame = [0x14, 0x02, 1, 2];
            let mut refuse = |_: u64, _: &[u8]| {
                seen += 1;
                Err(DecodeError::Truncated)
            };
            assert_eq!(reader.feed(&frame[..cut], 1000, &mut refuse), Ok(()));
            assert_eq!(reader.feed(&frame[cut..], 1000, &mut refuse), Err(DecodeError::Truncated));
            assert!(reader.feed(&frame, 1000, &mut refuse).is_err());
            assert_eq!(seen, 1);
        }
    }
}
