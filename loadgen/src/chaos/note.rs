//! What reaches the run from processes and receivers: one channel of notes, in the order of their
//! arrival.

use std::path::PathBuf;

use millrace_client::GapReason;
use millrace_proto::RouterId;

use super::said::{Label, Said};

/// One note. Times are microseconds since the run began.
#[derive(Debug)]
pub(super) enum Note {
    /// A router process is ready.
    Ready {
        /// Which router, and which start of it.
        router: u16,
        /// Which start of it, from 0.
        life: u16,
        /// What it said.
        ready: Ready,
    },
    /// A router process has closed its standard output without being ready.
    NotReady {
        /// Which router.
        router: u16,
        /// Which start of it.
        life: u16,
    },
    /// A publisher's process said something.
    Said {
        /// Which publisher.
        publisher: u16,
        /// Which start of it.
        life: u16,
        /// What.
        said: Said,
    },
    /// A publisher's process said something that is no line of its kind, or could not begin.
    Complaint(String),
    /// A receiver saw something.
    Seen {
        /// Which receiver.
        receiver: u16,
        /// When.
        at_us: u64,
        /// What.
        seen: Seen,
    },
    /// Somebody wants the run to end.
    Interrupted,
}

/// What a router says when it is ready.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    /// Its id.
    pub(super) id: RouterId,
    /// The authority of its certificate, PEM.
    pub(super) ca: PathBuf,
}

/// What a receiver saw.
#[derive(Debug)]
pub(super) enum Seen {
    /// It has a session with a router.
    Attached {
        /// Which.
        router: u16,
    },
    /// Its subscription is effective in the cluster.
    Effective {
        /// Routers that have not acknowledged it.
        left_out: Vec<RouterId>,
        /// Addresses at which nobody answered.
        unanswered: u64,
    },
    /// Its subscription is not effective any more.
    Lapsed,
    /// Events, in their order.
    Events(Vec<Got>),
    /// A gap stands in its stream.
    Gap {
        /// Why.
        reason: GapReason,
        /// The router that the missing events entered through; none: any.
        router: Option<RouterId>,
    },
    /// A payload is not what was published.
    Corrupted,
    /// So many events were removed so far, because it had had them.
    Removed(u64),
}

/// An event that a receiver got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Got {
    /// Its emitter.
    pub(super) emitter: u32,
    /// Its seq at its publisher.
    pub(super) seq: u64,
    /// What its payload says about its publisher's process.
    pub(super) label: Label,
    /// When it was published.
    pub(super) published_us: u64,
    /// It says that somebody may have had it before.
    pub(super) is_marked: bool,
}
