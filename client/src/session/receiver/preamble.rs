//! The preamble of a stream that the router opened: whose events it carries.

use millrace_proto::ReceiverNumber;
use millrace_proto::frame;
use millrace_proto::stream::{DeliverAllPreamble, DeliverPreamble, stream_kind};

use crate::session::SessionError;

/// Bytes of a stream's preamble, at most: it holds one small field, and room for a few that later
/// versions add.
const PREAMBLE_BYTES_MAX: usize = 256;

/// Whose events a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFor {
    /// One receiver's.
    Receiver(ReceiverNumber),
    /// Those of all receivers of the connection.
    All,
}

impl StreamFor {
    /// Whether a stream may begin so: the router opens the kind of stream that its Welcome has
    /// said, and of a receiver only while that is open.
    ///
    /// # Errors
    /// [`SessionError::Unexpected`] for a stream that nobody has asked for.
    pub(super) fn check(
        self,
        is_shared: bool,
        is_open: impl FnOnce(ReceiverNumber) -> bool,
    ) -> Result<(), SessionError> {
        let frame = match self {
            Self::All if is_shared => return Ok(()),
            Self::Receiver(receiver) if !is_shared => {
                if is_open(receiver) {
                    return Ok(());
                }
                "a stream for a receiver that is not open"
            }
            _ => "a delivery stream of a kind that was not agreed on",
        };
        Err(SessionError::Unexpected { frame })
    }
}

/// Reads the preamble of a stream that the router opened.
#[derive(Debug, Default)]
pub(super) struct PreambleReader {
    partial: Vec<u8>,
}

impl PreambleReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub(super) const fn new() -> Self {
        Self { partial: Vec::new() }
    }

    /// Feeds a chunk. Once the preamble is complete: whose events follow, and how many bytes of
    /// this chunk belonged to the preamble. What follows them goes to the session of the stream.
    ///
    /// # Errors
    /// [`SessionError`] when the stream carries no events to receivers.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<Option<(StreamFor, usize)>, SessionError> {
        let before = self.partial.len();
        let room = (PREAMBLE_BYTES_MAX + 16).saturating_sub(before);
        self.partial.extend_from_slice(&chunk[..chunk.len().min(room)]);
        let Some((kind, body, taken)) = frame::split(&self.partial, PREAMBLE_BYTES_MAX)? else {
            return Ok(None);
        };
        let stream = match kind {
            stream_kind::DELIVER => StreamFor::Receiver(DeliverPreamble::decode(body)?.receiver),
            stream_kind::DELIVER_ALL => {
                DeliverAllPreamble::decode(body)?;
                StreamFor::All
            }
            _ => return Err(SessionError::Unexpected { frame: "a stream that is not a receiver's" }),
        };
        Ok(Some((stream, taken.saturating_sub(before))))
    }
}
