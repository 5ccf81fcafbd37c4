//! Frame types of control streams between client and router. 0x74–0x7f are free; 0x60–0x6f and
//! 0x80–0x8f are those between routers ([`crate::mesh::kind`]).

#![allow(missing_docs, reason = "each is documented at the message of the same name")]
pub const HELLO: u64 = 0x20;
pub const WELCOME: u64 = 0x22;
pub const PING: u64 = 0x24;
pub const PONG: u64 = 0x26;
pub const GOAWAY: u64 = 0x28;
pub const CREDIT: u64 = 0x2a;
pub const RECEIVED: u64 = 0x2c;
pub const OUTCOME: u64 = 0x2e;
pub const ACK: u64 = 0x30;
pub const MOVE: u64 = 0x32;
pub const OPEN_RECEIVER: u64 = 0x34;
pub const SUBSCRIBE: u64 = 0x36;
pub const UNSUBSCRIBE: u64 = 0x38;
pub const SUBSCRIBED: u64 = 0x3a;
pub const REFUSED: u64 = 0x3c;
pub const GRANT: u64 = 0x3e;
pub const CLOSE_RECEIVER: u64 = 0x40;
pub const RECEIVER_CLOSED: u64 = 0x42;
pub const QUENCH: u64 = 0x44;
pub const UNQUENCH: u64 = 0x46;
pub const QUENCHED: u64 = 0x48;
pub const MEMBER: u64 = 0x4a;
pub const STANDBY: u64 = 0x4c;
pub const SET_STATE: u64 = 0x4e;
pub const DEMAND: u64 = 0x70;
pub const REPLIES: u64 = 0x72;
