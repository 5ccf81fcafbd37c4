//! The publishing half of a client: events in, one stream of bytes out.
//!
//! Each event gets its seq at once and joins a queue of *runs*, consecutive events with one tag
//! set. The session encodes a run when it takes it for the stream and not before, because the
//! numbers of tag sets belong to the stream that carries them. So events that were still queued
//! when a connection died go out on the next one.
//!
//! Output is *due* when 16 KiB are queued, when the oldest queued event has waited for `linger`, or
//! after a flush. The router's credit (bytes of the stream, its preamble included) holds it back.
//! The queue is bounded; [`PublishError::WouldBlock`] is the push-back when it is full.
//!
//! With a [`ConfirmLevel`] every event is kept until its [`Outcome`] has come, at most 65,536 of
//! them, and goes out again, on another router, too, when the connection is lost before.
//!
//! | file | what it has |
//! |---|---|
//! | `session` | [`PublisherSession`]: when output is due, and what the router said |
//! | `hearing` | which events of the control stream are a publisher's: [`PublisherSession::hear`] |
//! | `window`, `finals` | which events are queued, on their way, received, ended |
//! | `outcome` | [`Outcome`]: how an event ended |
//! | `store`, `memory` | what holds them: [`Store`], [`MemoryStore`] |
//! | `stream`, `speaker`, `streams` | one publish stream, how a publisher names itself on it, and how it comes and goes |
//! | `shared` | [`SharedStream`]: one stream that several publishers write |
//! | `retries` | what did not reach all its receivers, and is to go out again |
//! | `quenching`, `unwanted` | tag sets that nobody wants |
//! | `standby`, `numbered` | its place in a standby set, and events with numbers of their own |
//! | `copy` | what a session does that is one of two |
//! | `ways` | [`Ways`]: two routers at once |
//! | `reports` | asking the router what it has received, and how long it may be silent |
//!
//! ```
//! use millrace_client::session::{ConnectionEvent, PublisherConfig, PublisherSession};
//! use millrace_client::time::Time;
//! use millrace_proto::{Epoch, PublisherId, PublisherKey, TagSet, control::TableCapacity};
//!
//! let key = PublisherKey { publisher: PublisherId(7), epoch: Epoch(1) };
//! let mut session = PublisherSession::new(PublisherConfig::new(key));
//! let tags = TagSet::from_texts(["host=web-1"])?;
//! let now = Time::ZERO;
//! session.publish(now, &tags, 1_700_000_000_000_000_000, b"up")?;
//! assert!(session.take_output(now).is_none(), "no stream yet");
//! session.stream_started(TableCapacity::CLIENT);
//! session.on_credit(64 * 1024);
//! session.flush();
//! assert!(session.take_output(now).is_some());
//! session.hear(&ConnectionEvent::Received { publisher: 0, next_seq: 1 })?;
//! assert!(session.is_flushed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
#[cfg(test)]
mod confirm_tests;
mod copy;
mod error;
mod finals;
mod hearing;
mod memory;
mod numbered;
mod outcome;
mod quenching;
mod reports;
mod retries;
mod session;
mod shared;
#[cfg(test)]
mod shared_tests;
mod speaker;
mod standby;
#[cfg(test)]
mod standby_tests;
mod store;
mod stream;
mod streams;
mod tags;
#[cfg(test)]
mod tests;
mod unwanted;
mod ways;
mod window;

pub use config::{ConfirmLevel, PublisherConfig};
pub use error::PublishError;
pub(crate) use finals::Finals;
pub use hearing::Heard;
pub use memory::MemoryStore;
pub use outcome::{Ended, Outcome, OutcomeReason, Recipient, RecipientFate};
pub use session::PublisherSession;
pub use shared::{NUMBERS_MAX, SharedStream};
pub use standby::{Numbered, SetWish, StandbyState};
pub use store::{Full, GivenUp, NewEvent, Store, StoreError, StoredRun};
pub use tags::{HandlesExhausted, TAG_HANDLES_MAX, TagHandle, Tags};
pub use ways::Ways;
