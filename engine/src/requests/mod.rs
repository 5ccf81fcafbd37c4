//! Requests that wait for replies, at the router that the requester is connected to.
//!
//! A request is an event with a *reply token*, which its router makes and which goes with it to
//! those who may reply. A reply goes to the router that the token names, without interest in it, so
//! that it needs nobody to have heard of the requester before. That router checks the token, and
//! gives the reply to the requester's receiver:
//!
//! ```text
//! requester ─► r1: token r1·session·request·mark ─► responders, wherever they are
//! requester ◄─ r1 ◄────────── r1·session·request·mark ◄─ any router, from each responder
//! ```
//!
//! | part of a token | bytes | checked against |
//! |---|---|---|
//! | router | 8 | who is to have it |
//! | session | 4 | the requester's connection, as its core counts: core of the session is `session % cores` |
//! | request | 4 | the requests of that session that are open |
//! | mark | 8 | a hash of the three that only the core can make |
//!
//! A request is open until it has as many replies as it wants, which pass here wherever they come
//! from, and until its deadline, which every request has, at the latest. An open one takes 24 bytes
//! and its share of a hash table; those whose deadline has passed are swept out when the table has
//! doubled, so that a request costs a constant share of sweeping.

mod book;
mod token;

pub use book::{Asked, Requests, Unanswerable, Unasked};
pub use token::ReplyToken;
