//! One stream that several publishers write, each in its turn.
//!
//! A connection has one publish stream. Each of its publishers has a number there, seqs and
//! outcomes of its own; they share the table of tag sets and the credit:
//!
//! ```text
//! session of publisher 0 ─┐   lend      ┌ DefinePublisher(0, …), its runs
//! session of publisher 1 ─┼─ ─ ─ ─ ─ ▶ ─┤ DefinePublisher(1, …), its runs   ──▶ credit ──▶ bytes
//! session of publisher 2 ─┘  take_back  └ …
//! ```
//!
//! A session has the stream while it is lent to it: [`SharedStream::lend`], then what the driver
//! does with a session that writes a stream of its own, then [`SharedStream::take_back`]. When
//! credit ends within a chunk, [`SharedStream::take_rest`] gives the rest of it, before anybody
//! else writes.
//!
//! The router's answers name the number. One that is free again is given to the next publisher, but
//! only when the router has nothing left to say about the one before.

use std::collections::BTreeSet;

use bytes::Bytes;
use millrace_proto::control::TableCapacity;

use super::session::PublisherSession;
use super::speaker::Speaker;
use super::store::Store;
use super::stream::PublishStream;

/// Numbers that one stream gives, at most. A router may hold fewer publishers.
pub const NUMBERS_MAX: u64 = 4096;

/// The publish stream of a connection that several publishers write, each in its turn.
#[derive(Debug)]
pub struct SharedStream {
    /// The stream, while it is not lent.
    stream: Option<PublishStream>,
    numbers_max: u64,
    /// Numbers below it were given.
    given: u64,
    /// Those of them that nobody will be told anything about.
    free: BTreeSet<u64>,
}

impl SharedStream {
    /// The stream of a connection whose router's publish table holds `tables`.
    #[must_use]
    pub fn new(tables: TableCapacity) -> Self {
        Self {
            stream: Some(PublishStream::new(tables)),
            numbers_max: tables.publishers.min(NUMBERS_MAX),
            given: 0,
            free: BTreeSet::new(),
        }
    }

    /// A publisher begins to write the stream, with the number that is returned. `None`: the stream
    /// has none left, and a new connection has.
    pub fn join<S: Store>(&mut self, session: &mut PublisherSession<S>) -> Option<u64> {
        let number = match self.free.pop_first() {
            Some(number) => number,
            None if self.given < self.numbers_max => {
                self.given += 1;
                self.given - 1
            }
            None => return None,
        };
        session.begin(Speaker::among_others(&session.config, number), true);
        Some(number)
    }

    /// The publisher with this number writes no more. The number is given again if the router has
    /// nothing left to say about it.
    pub fn leave<S: Store>(&mut self, number: u64, session: &PublisherSession<S>) {
        if session.is_flushed() && session.unreceived().is_empty() {
            self.free.insert(number);
        }
    }

    /// Whether the router may speak of this number.
    #[must_use]
    pub const fn is_given(&self, number: u64) -> bool {
        number < self.given
    }

    /// The router allows `bytes` of this stream in all.
    pub fn on_credit(&mut self, bytes: u64) {
        if let Some(stream) = &mut self.stream {
            stream.on_credit(bytes);
        }
    }

    /// The rest of a chunk whose end had no credit, as far as it has credit.
    pub fn take_rest(&mut self) -> Option<Bytes> {
        self.stream.as_mut()?.take_staged()
    }

    /// A session that has [joined](Self::join) may write.
    pub fn lend<S>(&mut self, session: &mut PublisherSession<S>) {
        session.stream = self.stream.take();
    }

    /// Ends what [`SharedStream::lend`] began.
    pub fn take_back<S>(&mut self, session: &mut PublisherSession<S>) {
        self.stream = session.stream.take();
    }
}
