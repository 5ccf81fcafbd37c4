//! What the owner of a relay is told and asked.

use std::time::Duration;

use bytes::Bytes;
use millrace_proto::control::{Refused, Welcome};

use crate::session::Forwarding;

/// What a relay's router said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Said {
    /// So many bytes of the publish stream may be written in all.
    Credit(u64),
    /// About the publishers whose runs are passed on, or about what is wanted.
    Forwarding(Forwarding),
    /// Something of what was written is dropped.
    Refused(Refused),
}

/// The owner of a relay. It is called on the relay's task, and does not block.
pub trait Relayed {
    /// A router has welcomed the relay: a publish stream begins.
    ///
    /// # Errors
    /// Why the relay does not go on with this router; it tries again later.
    fn welcomed(&mut self, welcome: &Welcome) -> Result<(), String>;

    /// The router said something.
    fn said(&mut self, said: Said);

    /// The next bytes of the publish stream, as far as credit goes.
    fn take_output(&mut self) -> Option<Bytes>;

    /// How long it is until there are further bytes, though nobody says anything: they are asked
    /// for then. None: there will be none.
    fn output_in(&self) -> Option<Duration>;

    /// Whether the router owes an answer, so that its silence counts.
    fn expects_answer(&self) -> bool;

    /// The connection is gone, or could not be made. `is_refused`: the router refused, and will
    /// refuse again until somebody changes something.
    fn disconnected(&mut self, is_refused: bool, why: String);
}
