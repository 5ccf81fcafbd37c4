//! Frame types of lane control streams.

#![allow(missing_docs, reason = "each is documented at the message of the same name")]
pub const PEER_HELLO: u64 = 0x60;
pub const INTEREST: u64 = 0x62;
pub const INTEREST_ACK: u64 = 0x64;
pub const INTEREST_DIGEST: u64 = 0x66;
pub const INTEREST_REQUEST: u64 = 0x68;
pub const PEERS: u64 = 0x6a;
pub const LEG_ACK: u64 = 0x6c;
pub const TICKETS: u64 = 0x6e;
pub const MARK_REQUEST: u64 = 0x74;
pub const GROUP_MEMBERS: u64 = 0x80;
pub const SET_RECORDS: u64 = 0x82;
pub const HISTORY_REQUEST: u64 = 0x84;
pub const HISTORY_STATE: u64 = 0x86;
pub const HOLD: u64 = 0x88;
pub const LOAD: u64 = 0x89;
