//! Reads the control stream of a client of a crowd.

use millrace_attach::ControlStream;
use millrace_client::time::Time;
use millrace_quic::{Io, StreamId};
use millrace_sansio::{ReadState, Transport};

/// Bytes read from one stream before the next one's turn.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// Reads what has arrived; events follow from the session. A connection that breaks the protocol is
/// closed; whether it goes on.
pub(super) fn read(control: &mut ControlStream, io: &mut Io<'_>, stream: StreamId, time: Time) -> bool {
    match control.read(io, time, stream, READ_BYTES) {
        Ok(ReadState::More) => {
            io.wake(control.id(), stream);
            true
        }
        Ok(_) => true,
        Err(error) => {
            Transport::close(io, control.id(), error.close_code().code(), &error.to_string());
            false
        }
    }
}
