//! Settings of one publisher.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use millrace_proto::{ClusterId, PublisherKey, PublisherSecret, Shard};

use super::quench::Quench;
use super::spooling::SpoolOptions;
use super::standing::StandbyOptions;
use crate::clock::nanos;
use crate::connector::Wants;
use crate::session::{ConfirmLevel, PublisherConfig};
use crate::setters::setters;

/// Connections of one publisher, whatever it asks for or a router says about its cores: a router of
/// more cores is none of today's.
pub(super) const CONNECTIONS_MAX: u16 = 256;
/// Routers make nobody wait longer for `Received`.
pub(super) const RECEIVED_WITHIN_MAX: Duration = Duration::from_secs(10);

/// Settings of one publisher: the defaults, changed by setters.
///
/// ```
/// use std::time::Duration;
///
/// use millrace_client::PublisherOptions;
///
/// let options = PublisherOptions::default().linger(Duration::ZERO).resend(true);
/// assert!(options.resend);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublisherOptions {
    /// What its ids follow from, for a publisher that outlives the process. Default: random. Its
    /// connections have the ids of the indexes 0, 1, …
    /// ([`PublisherId::derive`](millrace_proto::PublisherId::derive)). Keep it secret: who knows it
    /// can publish under these ids.
    pub secret: Option<PublisherSecret>,
    /// Longest time that an event waits for company. Default 5 ms; 0 sends as soon as the task
    /// turns.
    pub linger: Duration,
    /// Most bytes queued before publishing blocks, for each connection. Default 1 MiB.
    pub buffer_bytes: usize,
    /// How long the router may take to say what it has received. Default 1 s; more than 10 s is 10
    /// s, and 0 leaves it to the router, which takes 20 ms. It bounds how many events are
    /// reported as unknown ([`Lost`](super::Lost)) after a lost connection, how old
    /// [`PublisherStats::received`](super::PublisherStats::received) is, and with 1.75 s more how
    /// soon a dead router is noticed by a publisher of few events. Flushing and closing do not
    /// wait for it. Each such message costs two packets: the longer, the cheaper is a publisher
    /// of an event now and then.
    pub received_within: Duration,
    /// Whether events that were on their way when a connection was lost are sent again on the next
    /// one, with their ids and in their order. Receivers may then get some of them twice. Default
    /// no: they are reported as unknown. What is not received counts against
    /// [`PublisherOptions::buffer_bytes`] then. Without effect with a confirm level.
    pub resend: bool,
    /// What the publisher is told about its events. Default [`ConfirmLevel::None`]: that a router
    /// has received them. With another level each event has an [`Outcome`](crate::Outcome), is
    /// kept until then, counted against [`PublisherOptions::buffer_bytes`] and against 65,536
    /// events, and goes out again with its id when the connection is lost before. Such a
    /// publisher has a connection of its own.
    pub level: ConfirmLevel,
    /// Receivers that an event must be confirmed at: with none it ends as dropped, with fewer as
    /// partial, because of [`OutcomeReason::FewReceivers`](crate::OutcomeReason::FewReceivers).
    /// Default 0: what nobody wants is confirmed. Without effect without a level.
    pub min_receivers: u64,
    /// Whether the ends of confirmed events are told as ranges, too
    /// ([`Publisher::settled`](super::Publisher::settled)): for programs that keep accounts of
    /// their own, also of events that an earlier process left in the spool. Default no. Without
    /// effect without a level.
    pub report_settled: bool,
    /// Where events stand until they are final: a folder of a disk, which they enter before they
    /// are sent. The publisher needs no router to begin and to go on, up to the spool's bounds;
    /// what is pending when it ends goes out when the spool is opened again, with the ids that it
    /// had. Its secret and epoch are the spool's. It has one connection of its own, and resends.
    /// Default none: events stand in memory.
    pub spool: Option<SpoolOptions>,
    /// Whether an event that did not reach all its receivers, or of which nobody can tell, is sent
    /// again before that is its outcome: at most five times within ten minutes, with growing
    /// pauses. Default yes. With a spool and a confirm level only.
    pub retry_partial: bool,
    /// How long after it happened an event may be sent. One that waits longer, because no router
    /// can be reached, is given up and counted as expired; one that is on its way is not. Without a
    /// spool, events that wait together are given up together. Default: without end.
    pub ttl: Option<Duration>,
    /// The standby set that it is a member of: several publishers of one stream, of which one takes
    /// effect. Such a publisher has one connection of its own. Default none.
    pub standby: Option<StandbyOptions>,
    /// Whether it is on two routers at once and gives each event to both, so that nothing waits and
    /// nothing is lost when one dies: receivers remove the copy that comes second. An event ends
    /// when one of them has confirmed it at a receiver, else with the better of both outcomes;
    /// without a level when one has received it. It sends again by itself, sends what nobody wants,
    /// too, and has [`PublisherOptions::buffer_bytes`] for each router. Not with a standby set, a
    /// spool, more than one connection, or events for recipients, requests and replies. Members of
    /// a group ([`ReceiverOptions::group`](crate::ReceiverOptions)) would get each event twice.
    /// Default no.
    pub redundant: bool,
    /// What it does with events of tag sets that nobody in the cluster wants, as its router tells.
    /// Default [`Quench::Auto`]: without a confirm level it skips them, but for one every 10 s.
    pub quench: Quench,
    /// Which connections. Default [`Connections::Shared`].
    pub connections: Connections,
    /// The shard of its main tag set: the connection then lands on the core that owns it. Default:
    /// the first connection is on any core, later ones are on the core that owns the first
    /// event's tag set. Without effect with a connection for each core.
    pub shard: Option<Shard>,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self {
            secret: None,
            linger: Duration::from_millis(5),
            buffer_bytes: 1024 * 1024,
            received_within: Duration::from_secs(1),
            resend: false,
            level: ConfirmLevel::None,
            min_receivers: 0,
            report_settled: false,
            spool: None,
            retry_partial: true,
            ttl: None,
            standby: None,
            redundant: false,
            quench: Quench::Auto,
            connections: Connections::Shared,
            shard: None,
        }
    }
}

impl PublisherOptions {
    setters! {
        secret: impl Into<Option<PublisherSecret>>,
        linger: Duration,
        buffer_bytes: usize,
        received_within: Duration,
        resend: bool,
        level: ConfirmLevel,
        min_receivers: u64,
        report_settled: bool,
        spool: impl Into<Option<SpoolOptions>>,
        retry_partial: bool,
        ttl: impl Into<Option<Duration>>,
        standby: impl Into<Option<StandbyOptions>>,
        redundant: bool,
        quench: Quench,
        connections: Connections,
        shard: impl Into<Option<Shard>>,
    }

    /// What each of its connections is for. The wait for `Received` is what the router will make of
    /// it: what its Hello asks for and what its session counts on are the same.
    pub(crate) fn wants(&self) -> Wants {
        Wants {
            receivers: 0,
            received_within: self.received_within.min(RECEIVED_WITHIN_MAX),
            share_deliveries: false,
            confirms: self.level.is_confirmed(),
            quench: self.skips(),
            more_publishers: 0,
            secret: self.secret,
            cluster: ClusterId(0),
        }
    }

    /// Whether it skips what nobody wants. One of two routers may know of a receiver that the other
    /// one does not.
    pub(super) const fn skips(&self) -> bool {
        !self.redundant && self.quench.skips(self.level, self.min_receivers)
    }

    /// The settings of the session of one of its connections.
    pub(super) fn session(&self, key: PublisherKey, index: u64) -> PublisherConfig {
        PublisherConfig {
            index,
            linger_ns: nanos(self.linger),
            buffer_bytes: self.buffer_bytes,
            received_within_ns: nanos(self.wants().received_within),
            resend: self.resend || self.spool.is_some(),
            level: self.level,
            min_receivers: self.min_receivers,
            redundant: self.redundant,
            retry_partial: self.retry_partial && self.spool.is_some(),
            set: self.standby.as_ref().map(|standby| standby.wish.clone()),
            ..PublisherConfig::new(key)
        }
    }
}

/// Which connections a publisher has. Reads and prints as `shared`, `one`, `per-core`, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Connections {
    /// The one that the receivers of its [`Client`](crate::Client) share. A connection has room for
    /// one publisher: a second publisher, or one with a secret, a shard, or a time for `Received`
    /// of its own, gets a connection of its own.
    #[default]
    Shared,
    /// One of its own: for a publisher of one source that is not to share its fate with receivers.
    One,
    /// One for each core of the router, each from its own socket: for publishers of many sources
    /// and many events.
    PerCore,
    /// So many, at most 256, each from its own socket. Connection i is on core i modulo the
    /// router's cores; with a multiple of their number no event crosses between cores, as with
    /// [`Connections::PerCore`].
    Exactly(NonZeroU16),
}

/// Neither `shared`, `one`, `per-core` nor a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("connections are `shared`, `one`, `per-core` or a number from 1 to {CONNECTIONS_MAX}, not `{0}`")]
pub struct ConnectionsError(String);

impl FromStr for Connections {
    type Err = ConnectionsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "shared" => Ok(Self::Shared),
            "one" => Ok(Self::One),
            "per-core" => Ok(Self::PerCore),
            other => {
                let number = other.parse().ok().filter(|number: &NonZeroU16| number.get() <= CONNECTIONS_MAX);
                number.map(Self::Exactly).ok_or_else(|| ConnectionsError(other.to_owned()))
            }
        }
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared"),
            Self::One => f.write_str("one"),
            Self::PerCore => f.write_str("per-core"),
            Self::Exactly(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_for_received_than_routers_allow() {
        for (wished, got) in [(0, 0), (1, 1), (10, 10), (11, 10), (u64::MAX, 10)] {
            let received_within = Duration::from_secs(wished);
            let options = PublisherOptions::default().received_within(received_within);
            assert_eq!(options.wants().received_within, Duration::from_secs(got));
        }
    }

    #[test]
    fn connections_read_as_they_print() {
        let three = Connections::Exactly(NonZeroU16::new(3).unwrap());
        for connections in [Connections::Shared, Connections::One, Connections::PerCore, three] {
            assert_eq!(connections.to_string().parse(), Ok(connections));
        }
        for wrong in ["two", "0", "257", "-1"] {
            let error = wrong.parse::<Connections>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "connections are `shared`, `one`, `per-core` or a number from 1 to 256, not `{wrong}`"
                )
            );
        }
    }
}
