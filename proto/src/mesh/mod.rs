//! Control frames between routers, on the bidirectional stream that the dialling router opens first
//! on each lane.
//!
//! Both sides say [`PeerHello`] first. Lane 0 then carries the link's interest; every lane may
//! carry [`Ping`](crate::control::Ping) and [`Pong`](crate::control::Pong). Interest is numbered by
//! its writer: an entry is added under a number and taken away by it.
//!
//! A snapshot is a sequence of [`Interest`] frames, the first with `reset`; `more` is set on all
//! but the last frame of a snapshot or batch, and the version counts as arrived when a frame
//! without `more` does.
//!
//! What every lane's core says about its own runs (legs, tickets, holds) goes over its own lane;
//! what concerns the link (interest, groups, sets, history) goes over lane 0.

mod frame;
pub mod kind;
mod lane;
mod link;

pub use frame::{LaneFrame, LinkFrame, MeshFrame};
pub use lane::{
    GroupMember, GroupMembers, HistoryRequest, HistorySpan, HistoryState, Hold, LegAck, MarkRequest,
    SetMember, SetRecord, SetRecords, Tickets,
};
pub use link::{
    EndedLife, Interest, InterestAck, InterestDigest, InterestEntry, InterestKind, InterestRequest,
    KnownPeer, Literal, Load, PeerHello, Peers,
};
