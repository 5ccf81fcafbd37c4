//! Frames about standby publishers: sets of publishers of which one takes effect.

use super::kind;
use crate::control::{message, wire_enum};

message! {
    /// A publisher joins a set, or leaves it.
    pub struct Standby = kind::STANDBY {
        /// The set, at most [`NAME_BYTES_MAX`](crate::limits::NAME_BYTES_MAX) bytes; it belongs to
        /// its first member's identity.
        1 set: String,
        /// The publisher: its number on the publish stream.
        2 publisher: u64,
        /// 1 to 16: lower ranks take over first.
        3 rank: u32,
        /// It takes over from a holder of a higher rank, too.
        4 preempt: bool,
        /// It leaves the set, and hands over if it holds it.
        5 leave: bool,
        /// The publisher's index, from which its id follows together with the secret in Hello.
        6 index: u64,
        /// The highest generation of the set that the publisher has heard of; 0: none.
        7 generation: u64,
        /// It has all numbers that routers have not had, or is going to be given them: it can take
        /// over without loss. Said again whenever it changes.
        8 abreast: bool,
    }
}

wire_enum! {
    /// What a member of a set is.
    pub enum Standing, unknown Other {
        /// It takes effect: its runs are delivered.
        1 Active = "active",
        /// It waits.
        2 Waiting = "waiting",
        /// It was active, and another one is: it must stop.
        3 Fenced = "fenced",
        /// One that this version does not know: it must not publish.
        63 Other = "other",
    }
}

message! {
    /// What a publisher is in its set.
    pub struct SetState = kind::SET_STATE {
        /// The set.
        1 set: String,
        /// The publisher: its number on the publish stream.
        2 publisher: u64,
        /// What it is.
        3 standing: Standing,
        /// The set's generation: rises with each takeover.
        4 generation: u64,
        /// The highest source seq of the set that the router has seen, plus one; 0: none.
        5 next_source_seq: u64,
        /// Nobody holds the set at the moment.
        6 vacant: bool,
    }
}
