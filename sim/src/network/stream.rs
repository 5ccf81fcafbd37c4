//! One direction of a stream: bytes in order, with a window.

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_engine::time::Time;

use super::quench_tap::QuenchTap;
use super::tamper::Tamper;
use super::tap::Tap;

/// One direction of a stream, both its ends.
#[derive(Debug)]
pub(super) struct Half {
    window: u64,
    /// Bytes that the writer handed over.
    written: u64,
    /// Bytes that it may hand over, as far as it knows.
    limit: u64,
    /// It was refused something and waits to hear of a higher limit.
    pub(super) blocked: bool,
    pub(super) finished: bool,
    pub(super) stopped: bool,
    /// When the last packet arrives: a later one does not overtake it.
    pub(super) last_arrival: Time,
    arrived: VecDeque<Bytes>,
    fin: bool,
    /// The reader's host knows of the stream.
    pub(super) announced: bool,
    /// Bytes that the reader took.
    consumed: u64,
    /// The limit that it told the writer.
    advertised: u64,
    pub(super) tap: Option<Tap>,
    pub(super) quench_tap: Option<QuenchTap>,
    pub(super) tamper: Option<Tamper>,
    /// What the other host has not acknowledged, where the writer wants to know.
    pub(super) unacknowledged: VecDeque<Bytes>,
}

/// What a read left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    More,
    End,
}

impl Half {
    pub(super) const fn new(window: u64) -> Self {
        Self {
            window,
            written: 0,
            limit: window,
            blocked: false,
            finished: false,
            stopped: false,
            last_arrival: Time::ZERO,
            arrived: VecDeque::new(),
            fin: false,
            announced: false,
            consumed: 0,
            advertised: window,
            tap: None,
            quench_tap: None,
            tamper: None,
            unacknowledged: VecDeque::new(),
        }
    }

    /// Takes as much of `bytes` as the window allows, and returns what goes on the way.
    pub(super) fn write(&mut self, bytes: &mut Bytes) -> Bytes {
        let room = usize::try_from(self.limit.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let taken = bytes.split_to(bytes.len().min(room));
        self.written += taken.len() as u64;
        self.blocked |= !bytes.is_empty();
        if let Some(tap) = &mut self.tap {
            tap.feed(&taken);
        }
        if let Some(tap) = &mut self.quench_tap {
            tap.feed(&taken);
        }
        match &mut self.tamper {
            Some(tamper) => tamper.pass(&taken),
            None => taken,
        }
    }

    /// Bytes arrive.
    pub(super) fn arrive(&mut self, bytes: Bytes) {
        if !self.stopped && !bytes.is_empty() {
            self.arrived.push_back(bytes);
        }
    }

    /// The end arrives.
    pub(super) fn arrive_end(&mut self) {
        self.fin = true;
    }

    /// Hands up to about `limit` bytes to the reader.
    pub(super) fn read(&mut self, limit: usize, sink: &mut dyn FnMut(&[u8])) -> Left {
        let mut taken = 0;
        while taken < limit {
            let Some(chunk) = self.arrived.pop_front() else { break };
            taken += chunk.len();
            sink(&chunk);
        }
        self.consumed += taken as u64;
        match (self.arrived.is_empty(), self.fin) {
            (false, _) => Left::More,
            (true, true) => Left::End,
            (true, false) => Left::Nothing,
        }
    }

    /// A limit to tell the writer, once half of the window was taken.
    pub(super) fn advertise(&mut self) -> Option<u64> {
        // A tampered stream has other lengths at its two ends: it has no window.
        let wanted = if self.tamper.is_some() { u64::MAX } else { self.consumed + self.window };
        if wanted.saturating_sub(self.advertised) < self.window / 2 {
            return None;
        }
        self.advertised = wanted;
        Some(wanted)
    }

    /// The writer hears of a limit. Whether it may go on.
    pub(super) fn allow(&mut self, limit: u64) -> bool {
        self.limit = self.limit.max(limit);
        self.limit > self.written && std::mem::take(&mut self.blocked)
    }

    /// Bytes that have arrived and wait for the reader.
    pub(super) fn unread(&self) -> usize {
        self.arrived.iter().map(Bytes::len).sum()
    }

    pub(super) const fn window(&self) -> u64 {
        self.window
    }
}
