//! The publish stream of a connection, and what is not written to it yet.

use bytes::Bytes;
use quinn::{Connection, SendStream, VarInt, WriteError};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Pen {
    /// Opened with the first output.
    stream: Option<SendStream>,
    /// Output that is not written yet.
    out: Bytes,
}

impl Pen {
    /// Whether everything is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes the next bytes, when everything before is written.
    pub(crate) fn take(&mut self, chunk: Bytes) {
        self.out = chunk;
    }

    /// Writes what was taken, or opens the stream for it. Waits for ever when there is nothing to
    /// write. May be dropped at any time.
    pub(crate) async fn write(&mut self, connection: &Connection) -> Result<(), WriteError> {
        if self.out.is_empty() {
            return std::future::pending().await;
        }
        match &mut self.stream {
            Some(stream) => stream.write_chunks(std::slice::from_mut(&mut self.out)).await.map(drop),
            None => {
                self.stream = Some(connection.open_uni().await?);
                Ok(())
            }
        }
    }

    /// Ends a stream that may end within a run, which would break the protocol.
    pub(crate) fn reset(&mut self) {
        if let Some(stream) = &mut self.stream {
            // Resetting fails only for a stream that is closed already.
            let _ = stream.reset(VarInt::from_u32(0));
        }
    }
}
