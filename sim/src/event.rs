//! What can happen in a simulated cluster.

use std::time::Duration;

use millrace_engine::message::CoreIndex;
use millrace_engine::transport::{ConnKey, StreamKey};
use millrace_verify::fault::{Fault, Phase};

use crate::network::{Host, Packet};

/// One event.
#[derive(Debug)]
pub enum Event {
    /// On the network.
    Net(NetEvent),
    /// Within a router's process. One for a process that is dead by then is void.
    Router {
        /// The router.
        router: u32,
        /// Which of its lives.
        life: u32,
        /// What.
        what: RouterEvent,
    },
    /// A client's timer.
    ClientTimer {
        /// The client.
        client: u32,
    },
    /// A client connects, for the first time or again.
    ClientDial {
        /// The client.
        client: u32,
    },
    /// A publisher's program has something to publish.
    Publish {
        /// The client.
        client: u32,
    },
    /// A receiver's program changes what it wants.
    Churn {
        /// The client.
        client: u32,
    },
    /// A receiver's program leaves its router, and goes on at another one.
    Hop {
        /// The client.
        client: u32,
        /// The program ends, and begins again so much later with the cursors that it has saved.
        away: Option<Duration>,
    },
    /// An operator has the holder of a standby set give way.
    HandOver {
        /// The set.
        set: u32,
    },
    /// A fault begins or ends.
    Fault(Phase, Fault),
    /// Fill levels are looked at, and whether all is settled.
    Inspect,
}

/// What happens within a router's process.
#[derive(Debug, Clone, Copy)]
pub enum RouterEvent {
    /// A core ends a turn.
    Turn {
        /// The core.
        core: CoreIndex,
    },
    /// A core takes the next message of control.
    MailToCore {
        /// The core.
        core: CoreIndex,
    },
    /// Control takes the next message of a core.
    MailToControl {
        /// The core.
        core: CoreIndex,
    },
    /// A core takes the next batch of a sibling.
    Batch {
        /// The sibling.
        from: CoreIndex,
        /// The core.
        to: CoreIndex,
    },
    /// A core comes to a stream that has been readable for a while.
    Readable {
        /// The core.
        core: CoreIndex,
        /// The connection.
        conn: ConnKey,
        /// The stream.
        stream: StreamKey,
    },
    /// Control's timer.
    ControlTimer,
    /// The thread of its history files takes the next word of a core.
    Files,
    /// The process ends in order.
    ShutDown,
    /// The process reads its tag rules anew.
    Reload,
}

/// What happens on the network.
#[derive(Debug)]
pub enum NetEvent {
    /// A packet arrives.
    Packet {
        /// The connection.
        conn: u64,
        /// The end at which it arrives.
        to: usize,
        /// The packet.
        packet: Packet,
    },
    /// A dialling end has waited for an answer.
    InitialRetry {
        /// The connection.
        conn: u64,
    },
    /// A dial has lasted too long.
    ConnectTimeout {
        /// The connection.
        conn: u64,
    },
    /// An end may have heard nothing for its idle timeout.
    Idle {
        /// The connection.
        conn: u64,
        /// The end.
        side: usize,
    },
    /// An end sends to one that is no more, which may be answered by a reset.
    Reset {
        /// The connection.
        conn: u64,
        /// The end.
        side: usize,
    },
}

impl Event {
    /// The host on which it happens, if the network does not say.
    #[must_use]
    pub const fn host(&self) -> Option<Host> {
        match self {
            Self::Router { router, .. } => Some(Host::Router(*router)),
            Self::ClientTimer { client }
            | Self::ClientDial { client }
            | Self::Publish { client }
            | Self::Churn { client }
            | Self::Hop { client, .. } => Some(Host::Client(*client)),
            Self::Net(_) | Self::HandOver { .. } | Self::Fault(..) | Self::Inspect => None,
        }
    }
}
