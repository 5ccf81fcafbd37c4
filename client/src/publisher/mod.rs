//! Publishing: events go into bounded queues under short locks; one task per connection moves them
//! to a router.
//!
//! A publisher keeps its connections and makes them anew by itself. Events that were on their way
//! when a connection was lost are reported as *unknown* ([`Publisher::lost`]), because the router
//! may have got them; [`PublisherOptions::resend`] sends them again instead. Events that were still
//! queued go out on the next connection, under the same publisher id and epoch.
//!
//! With a confirm level ([`PublisherOptions::level`]) each event has an
//! [`Outcome`](crate::Outcome): [`Publisher::publish_confirmed`] gives a future of it,
//! [`Publisher::flush`] waits for all, and those that are not confirmed are reported
//! ([`Publisher::unconfirmed`]).
//!
//! A publisher of one source has one connection, on the core that owns its tag set. One of many
//! sources may have a connection for each core of the router ([`Connections::PerCore`]): each event
//! then goes over the connection whose core owns its shard, and crosses no mailbox in the router.
//! The number of connections is that of the cores of the first router, for the publisher's life, so
//! a tag set always uses one connection and keeps its order. At a router of another number of cores
//! everything works, too; some events then cross between its cores.
//!
//! The other way round, the publishers of a [`Bundle`] share one connection, each with an id, seqs
//! and a spool of its own: `bundled` is what its task does for them, `voice` what either task does
//! for one publisher, `pen` writes the stream.
//!
//! A publisher on two routers ([`PublisherOptions::redundant`]) has one feed with two tasks: each
//! moves the events of one way of its [`Ways`](crate::session::publisher::Ways).
//!
//! With [`PublisherOptions::spool`] events stand on disk until they are final: the publisher begins
//! and goes on without a router, and what is pending when it ends goes out when the spool is opened
//! again. `upkeep` syncs the spool beside the task.
//!
//! ```text
//!                    shard % 3 = 0   ┌ feed: queue ── task ── connection ─► core 0 ┐
//! publish(tags, …) ─► shard % 3 = 1 ─► feed: queue ── task ── connection ─► core 1 ├ router
//!                    shard % 3 = 2   └ feed: queue ── task ── connection ─► core 2 ┘
//! ```

mod address;
mod bundle;
mod bundled;
mod carried;
mod confirmation;
mod connect;
mod counting;
mod epoch;
mod feed;
mod holding;
mod options;
mod outgoing;
mod pen;
mod publishing;
mod quench;
mod redundant;
mod spooling;
mod standing;
mod state;
mod stats;
mod task;
#[cfg(all(unix, feature = "spool"))]
mod upkeep;
mod voice;

pub(crate) use address::names;
pub use bundle::Bundle;
pub use bundled::BUNDLE_PUBLISHERS_MAX;
pub(crate) use carried::Carried;
pub use confirmation::Confirmation;
pub(crate) use confirmation::Hears;
pub(crate) use connect::{connect, join_hub};
pub use options::{Connections, ConnectionsError, PublisherOptions};
pub(crate) use outgoing::{NO_NUMBERS, Turned};
pub(crate) use pen::Pen;
pub use publishing::Publisher;
pub use quench::{Quench, QuenchError};
pub use spooling::SpoolOptions;
pub use standing::StandbyOptions;
pub use stats::{Lost, PublisherStats, Settled, Unconfirmed};

pub use crate::session::publisher::{HandlesExhausted, PublishError, TagHandle, Tags};
