//! A connection that notes whether its client has begun something that it has not finished: one
//! that is merely kept open owes nothing, one in the middle of a request's head does.
//!
//! It also bounds a head: no read goes across the bytes that a head may have. What holds the head
//! looks at its length between reads, so that neither it nor its buffer ever has more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use crate::admission::HEAD_BYTES_MAX;

/// Whether the client owes the rest of a request. A new client owes its first one.
#[derive(Debug, Clone)]
pub(crate) struct Owed(Arc<State>);

#[derive(Debug)]
struct State {
    is_owed: AtomicBool,
    /// What is read belongs to a head.
    in_head: AtomicBool,
}

impl Owed {
    /// The head of the client's request is there.
    pub(crate) fn head_is_there(&self) {
        self.0.in_head.store(false, Ordering::Relaxed);
    }

    /// The client's request is there.
    pub(crate) fn settle(&self) {
        self.0.is_owed.store(false, Ordering::Relaxed);
        self.0.in_head.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_owed(&self) -> bool {
        self.0.is_owed.load(Ordering::Relaxed)
    }
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Heard<S> {
    socket: Take<S>,
    owed: Owed,
    /// Bytes of the head so far.
    head_bytes: usize,
}

impl<S: AsyncRead> Heard<S> {
    pub(crate) fn new(socket: S) -> (Self, Owed) {
        let state = State { is_owed: AtomicBool::new(true), in_head: AtomicBool::new(true) };
        let owed = Owed(Arc::new(state));
        (Self { socket: socket.take(u64::MAX), owed: owed.clone(), head_bytes: 0 }, owed)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let in_head = self.owed.0.in_head.load(Ordering::Relaxed);
        if !in_head {
            self.head_bytes = 0;
        }
        let left = HEAD_BYTES_MAX - self.head_bytes;
        self.socket.set_limit(if in_head { left as u64 } else { u64::MAX });
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        let heard = buffer.filled().len() - before;
        if heard > 0 {
            self.owed.0.is_owed.store(true, Ordering::Relaxed);
        }
        if in_head {
            // What read on behind a whole head was given the rest of a request that nobody wanted.
            self.head_bytes = (self.head_bytes + heard) % HEAD_BYTES_MAX;
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.socket.get_mut()).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket.get_mut()).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.socket.get_mut()).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.get_ref().is_write_vectored()
    }
}
