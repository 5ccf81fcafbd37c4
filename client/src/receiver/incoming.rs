//! The delivery streams of one connection, as quinn gives them: chunks of bytes go in, batches for
//! the inboxes come out.
//!
//! Which session reads which stream, and what the router is granted, [`Deliveries`] decides.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use millrace_proto::ReceiverNumber;
use millrace_proto::data::ReceiverEnd;
use quinn::{ReadError, RecvStream};

use super::batch::SharedDedup;
use super::building::SharedHandover;
use super::sorting::{Deliver, Sorting};
use crate::link::Link;
use crate::session::receiver::{Echo, Session};
use crate::session::{Deliveries, DeliveryStream, SessionError};

/// Chunks that one read takes from a stream, at most; a chunk holds at most one packet's bytes.
pub(super) const CHUNKS: usize = 64;

/// The delivery streams that the router has opened, and what reads them.
pub(super) struct Incoming {
    streams: Vec<Stream>,
    /// Index of the stream that the next read asks first: reads begin behind the stream that had
    /// something, because a busy stream would starve the others.
    first: usize,
    deliveries: Deliveries,
    sorting: Sorting,
}

struct Stream {
    recv: RecvStream,
    delivery: DeliveryStream,
    /// Whether the receiver's inbox takes more; without room the stream is left unread.
    has_room: bool,
}

impl Incoming {
    pub(super) fn new(link: &Link) -> Self {
        let mut deliveries = Deliveries::new();
        deliveries.welcomed(link.session.shares_deliveries(), link.session.tables());
        Self { streams: Vec::new(), first: 0, deliveries, sorting: Sorting::default() }
    }

    /// Prepares for a receiver that the connection is about to ask for, and returns its first grant
    /// in bytes. `held` bytes of an older connection still wait for its application.
    pub(super) fn open(
        &mut self,
        receiver: ReceiverNumber,
        window_bytes: u64,
        held: u64,
        dedup: SharedDedup,
    ) -> u64 {
        self.sorting.open(receiver, dedup);
        self.deliveries.open(receiver, window_bytes, held).unwrap_or_default()
    }

    /// What comes for a receiver is judged by its move from here on; by none, if there is none.
    pub(super) fn set_moving(&mut self, receiver: ReceiverNumber, moving: Option<(Session, SharedHandover)>) {
        self.sorting.set_moving(receiver, moving);
    }

    /// A receiver has moved here, and may get these events once more.
    pub(super) fn set_moved(&mut self, receiver: ReceiverNumber, echo: Echo) {
        self.sorting.set_moved(receiver, echo);
    }

    /// So many bytes of an older connection wait for a receiver's application, which takes them
    /// before those of this one.
    pub(super) fn set_held(&mut self, receiver: ReceiverNumber, bytes: u64) {
        self.deliveries.set_held(receiver, bytes);
    }

    /// Drops what the router still sends for a receiver that its application has closed.
    pub(super) fn close(&mut self, receiver: ReceiverNumber) {
        self.streams.retain(|stream| stream.delivery.receiver() != Some(receiver));
        self.sorting.close(receiver);
    }

    /// Forgets a receiver that the router has ended or refused to open. Returns whether a new
    /// receiver may take its number on this connection.
    pub(super) fn gone(&mut self, receiver: ReceiverNumber) -> bool {
        self.deliveries.closed(receiver)
    }

    /// Adds a stream that the router has opened.
    pub(super) fn add(&mut self, recv: RecvStream) {
        self.streams.push(Stream { recv, delivery: DeliveryStream::new(), has_room: true });
    }

    /// The receivers whose own stream has begun, each with the flag that lets [`Incoming::next`]
    /// read it.
    pub(super) fn own_streams(&mut self) -> impl Iterator<Item = (ReceiverNumber, &mut bool)> {
        self.streams.iter_mut().filter_map(|stream| Some((stream.delivery.receiver()?, &mut stream.has_room)))
    }

    /// Reads the next chunks of any stream. Returns the stream's index and how many chunks there
    /// are; `None` at the end of the stream. The future may be dropped at any time, because it
    /// takes chunks only when it is ready.
    pub(super) async fn next(
        &mut self,
        chunks: &mut [Bytes; CHUNKS],
    ) -> (usize, Result<Option<usize>, ReadError>) {
        let Self { streams, first, .. } = self;
        poll_fn(|context| {
            let count = streams.len();
            for step in 0..count {
                let index = (*first + step) % count;
                let stream = &mut streams[index];
                if !stream.has_room {
                    continue;
                }
                let read = pin!(stream.recv.read_chunks(chunks));
                if let Poll::Ready(read) = read.poll(context) {
                    *first = index + 1;
                    return Poll::Ready((index, read));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Removes a stream that has ended. Returns the receiver whose own it was.
    pub(super) fn finished(&mut self, index: usize) -> Option<ReceiverNumber> {
        self.streams.swap_remove(index).delivery.receiver()
    }

    /// Decodes the chunks of one read and hands batches to `to`. Returns the receivers that the
    /// router ended in them; grants may be due.
    ///
    /// # Errors
    /// [`SessionError`] when the router breaks the protocol: the connection is to be closed.
    pub(super) fn feed(
        &mut self,
        index: usize,
        chunks: &mut [Bytes],
        to: &mut impl Deliver,
    ) -> Result<Vec<ReceiverEnd>, SessionError> {
        let Self { streams, deliveries, sorting, .. } = self;
        let ends = sorting.feed(deliveries, &mut streams[index].delivery, chunks, to)?;
        if streams[index].delivery.is_unwanted() {
            streams.swap_remove(index);
        }
        Ok(ends)
    }

    /// Counts bytes that a receiver's application took: of this connection, and of older ones.
    pub(super) fn consumed(&mut self, receiver: ReceiverNumber, (here, before): (u64, u64)) {
        self.deliveries.consumed_held(receiver, before);
        self.deliveries.consumed(receiver, here);
    }

    /// Grants the router what it may write for receivers whose applications have taken bytes.
    pub(super) fn grant(&mut self, link: &mut Link) {
        while let Some((receiver, bytes)) = self.deliveries.poll_grant() {
            link.session.grant(receiver, bytes);
        }
    }
}
