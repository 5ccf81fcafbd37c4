//! The mailbox of a core, for every other thread: one per core, bounded in commands.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use millrace_engine::core::Core;
use millrace_engine::message::{DialId, ToCore};
use millrace_proto::mesh::PeerHello;
use millrace_quic::{Io, Waker};

use crate::entrance::Entrance;
use crate::metrics::CoreSnapshot;

/// Most commands that wait for one core.
pub(crate) const COMMANDS_MAX: usize = 16_384;

/// Receives a picture when it is taken.
pub(crate) type Inspection = Box<dyn FnOnce(CoreSnapshot) + Send>;

/// A look at a core and its connections.
pub(crate) type CoreQuestion = Box<dyn FnOnce(&Core, &Io<'_>) + Send>;

/// From other threads of the router to a core.
pub(crate) enum Command {
    /// From control, for the engine.
    Engine(ToCore),
    /// Begin a lane.
    Dial { dial: DialId, remote: SocketAddr, server_name: String, shard: u16, hello: PeerHello },
    /// Accept and dial new connections with these settings.
    Enter(Arc<Entrance>),
    /// Answer a question at the beginning of a turn.
    Ask(CoreQuestion),
    /// Take a picture between two turns.
    Inspect(Inspection),
    /// Close all connections in order, within this time, and end. `busy` counts the cores that may
    /// still send runs to their owners on other cores.
    ShutDown { flush: Duration, busy: Arc<AtomicUsize> },
    /// End at once, without a word to anybody.
    Kill,
}

/// How a core is to end.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// In order, within this time.
    ShutDown { flush: Duration, busy: Arc<AtomicUsize> },
    /// At once.
    Kill,
}

/// The way to one core.
#[derive(Clone)]
pub(crate) struct CorePost {
    pub(crate) commands: SyncSender<Command>,
    pub(crate) waker: Waker,
}

impl CorePost {
    /// Hands over a command, or gives it back when the mailbox is full. A core that has ended takes
    /// everything.
    #[expect(
        clippy::result_large_err,
        reason = "what the mailbox does not take is kept as it is and tried again"
    )]
    pub(crate) fn try_send(&self, command: Command) -> Result<(), Command> {
        match self.commands.try_send(command) {
            Ok(()) => {
                self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(command)) => Err(command),
        }
    }

    /// Hands over a command and waits for room, on threads that may wait.
    pub(crate) fn send(&self, command: Command) {
        self.leave(command);
        self.waker.wake();
    }

    /// Hands over a command without waking the core, unless its mailbox is full. A caller with more
    /// commands wakes it once at the end.
    pub(crate) fn leave(&self, command: Command) {
        if let Err(TrySendError::Full(command)) = self.commands.try_send(command) {
            self.waker.wake();
            // A core that has ended needs no commands.
            let _ = self.commands.send(command);
        }
    }
}

impl fmt::Debug for CorePost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorePost").finish_non_exhaustive()
    }
}
