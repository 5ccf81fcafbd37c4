//! What a gateway or an agent counts: for each door what came and went, and for each reason what
//! did not.
//!
//! Counters are plain atomic numbers; `/metrics` reads them ([`crate::admin`]).

use std::sync::atomic::{AtomicU64, Ordering};

/// Names a variant for labels, and lists all of them.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in metrics, logs and answers.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }
        }
    };
}

labels! {
    /// A door.
    Door {
        /// `POST /events`: plain and CloudEvents.
        Http = "http",
        /// `GET /events`: server-sent events and WebSockets.
        Web = "web",
        /// Syslog over UDP, TCP and TLS.
        Syslog = "syslog",
        /// NATS' core protocol.
        Nats = "nats",
        /// MQTT 5 and 3.1.1.
        Mqtt = "mqtt",
    }
}

labels! {
    /// Why something was refused, or an event dropped.
    Reason {
        /// Nobody knows who it is.
        Unauthenticated = "unauthenticated",
        /// The identity may not do that.
        Forbidden = "forbidden",
        /// It had the right when it came, and has lost it.
        Withdrawn = "withdrawn",
        /// A web page of another origin asked, or one under a name that is not this host's.
        Origin = "origin",
        /// It did not say who it is, or not all of what it wanted, in time.
        Slow = "slow",
        /// As many connections are open as may be.
        Connections = "connections",
        /// It is larger than the protocol's bounds here.
        TooLarge = "too_large",
        /// It cannot be read.
        Malformed = "malformed",
        /// Its content type is none that this door reads.
        ContentType = "content_type",
        /// As many events wait for their outcome as may.
        Busy = "busy",
        /// No router can be reached.
        NoRouter = "no_router",
        /// The local client did not take it in time, so that newer events took its place.
        Overflow = "overflow",
        /// Its time was over.
        Expired = "expired",
        /// It has no name in the client's protocol.
        Unmapped = "unmapped",
        /// The spool is full, and gives up what is new.
        Shed = "shed",
        /// The spool is full.
        Full = "full",
        /// The spool's disk fails.
        Disk = "disk",
    }
}

impl Reason {
    /// Why there is no TLS with a client.
    #[must_use]
    pub fn of_handshake(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::TimedOut { Self::Slow } else { Self::Unauthenticated }
    }
}

/// What each door counts.
#[derive(Debug, Default)]
struct OfDoor {
    published: AtomicU64,
    confirmed: AtomicU64,
    unconfirmed: AtomicU64,
    delivered: AtomicU64,
    connections: AtomicU64,
    connections_open: AtomicU64,
    waiting_bytes: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    dropped: [AtomicU64; Reason::ALL.len()],
}

/// All counters of a program.
#[derive(Debug, Default)]
pub struct Counters {
    doors: [OfDoor; Door::ALL.len()],
    queues: AtomicU64,
}

/// What waits for all local clients of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Bytes.
    pub bytes: u64,
    /// Queues, of which most have nothing.
    pub queues: u64,
}

/// A connection while it is counted as open.
#[derive(Debug)]
pub struct OpenConnection<'a>(&'a OfDoor);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One number of a door, for `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The door.
    pub door: Door,
    /// Why, for what has reasons.
    pub reason: Option<Reason>,
    /// How many.
    pub value: u64,
}

/// A family of numbers: name, whether it only grows, help, and how to read it.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name, without the program's and `_total`.
    pub name: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// What it is.
    pub help: &'static str,
    read: Read,
}

#[derive(Debug, Clone, Copy)]
enum Read {
    One(fn(&OfDoor) -> &AtomicU64),
    ByReason(fn(&OfDoor) -> &[AtomicU64; Reason::ALL.len()]),
}

/// Every family that [`Counters`] has.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "published_events",
        is_counter: true,
        help: "Events that local clients published and that were taken",
        read: Read::One(|door| &door.published),
    },
    Family {
        name: "confirmed_events",
        is_counter: true,
        help: "Published events that routers confirmed at the level asked for",
        read: Read::One(|door| &door.confirmed),
    },
    Family {
        name: "unconfirmed_events",
        is_counter: true,
        help: "Published events that ended as partial, dropped or unknown",
        read: Read::One(|door| &door.unconfirmed),
    },
    Family {
        name: "delivered_events",
        is_counter: true,
        help: "Events that were written to local clients",
        read: Read::One(|door| &door.delivered),
    },
    Family {
        name: "connections",
        is_counter: true,
        help: "Connections, streams and datagram sockets that local clients opened",
        read: Read::One(|door| &door.connections),
    },
    Family {
        name: "open_connections",
        is_counter: false,
        help: "Connections and streams of local clients that are open",
        read: Read::One(|door| &door.connections_open),
    },
    Family {
        name: "waiting_bytes",
        is_counter: false,
        help: "Bytes of events that wait until local clients take them",
        read: Read::One(|door| &door.waiting_bytes),
    },
    Family {
        name: "refused",
        is_counter: true,
        help: "Requests, connections and frames of local clients that were refused, by reason",
        read: Read::ByReason(|door| &door.refused),
    },
    Family {
        name: "dropped_events",
        is_counter: true,
        help: "Events that were dropped on their way through a door, by reason",
        read: Read::ByReason(|door| &door.dropped),
    },
];

impl Counters {
    fn door(&self, door: Door) -> &OfDoor {
        &self.doors[door as usize]
    }

    /// Events of local clients were taken.
    pub fn published(&self, door: Door, events: u64) {
        self.door(door).published.fetch_add(events, Ordering::Relaxed);
    }

    /// Taken events have ended.
    pub fn ended(&self, door: Door, confirmed: u64, unconfirmed: u64) {
        self.door(door).confirmed.fetch_add(confirmed, Ordering::Relaxed);
        self.door(door).unconfirmed.fetch_add(unconfirmed, Ordering::Relaxed);
    }

    /// Events were written to a local client.
    pub fn delivered(&self, door: Door, events: u64) {
        self.door(door).delivered.fetch_add(events, Ordering::Relaxed);
    }

    /// A local client connected; it counts as open until the answer is dropped.
    pub fn connected(&self, door: Door) -> OpenConnection<'_> {
        let door = self.door(door);
        door.connections.fetch_add(1, Ordering::Relaxed);
        door.connections_open.fetch_add(1, Ordering::Relaxed);
        OpenConnection(door)
    }

    /// There is one queue more.
    pub fn queue_made(&self) {
        self.queues.fetch_add(1, Ordering::Relaxed);
    }

    /// There is one queue less, which had so many bytes.
    pub fn queue_gone(&self, door: Door, bytes: usize) {
        self.queues.fetch_sub(1, Ordering::Relaxed);
        self.waits(door, bytes, 0);
    }

    /// A local client's queue has other bytes than before.
    pub fn waits(&self, door: Door, before: usize, now: usize) {
        // Wraps, as the number does: a difference below zero is taken off.
        let more = (now as u64).wrapping_sub(before as u64);
        self.door(door).waiting_bytes.fetch_add(more, Ordering::Relaxed);
    }

    /// What waits for all local clients.
    pub fn waiting(&self) -> Waiting {
        let bytes = self.doors.iter().map(|door| door.waiting_bytes.load(Ordering::Relaxed)).sum();
        Waiting { bytes, queues: self.queues.load(Ordering::Relaxed) }
    }

    /// Something was refused.
    pub fn refused(&self, door: Door, reason: Reason) {
        self.door(door).refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Events were dropped.
    pub fn dropped(&self, door: Door, reason: Reason, events: u64) {
        self.door(door).dropped[reason as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// The numbers of a family; of those with reasons, only the ones that have happened.
    pub fn samples(&self, family: &Family) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (door, of_door) in Door::ALL.iter().zip(&self.doors) {
            match family.read {
                Read::One(number) => {
                    let value = number(of_door).load(Ordering::Relaxed);
                    samples.push(Sample { door: *door, reason: None, value });
                }
                Read::ByReason(numbers) => {
                    for (reason, number) in Reason::ALL.iter().zip(numbers(of_door)) {
                        let value = number.load(Ordering::Relaxed);
                        if value > 0 {
                            samples.push(Sample { door: *door, reason: Some(*reason), value });
                        }
                    }
                }
            }
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str) -> &'static Family {
        FAMILIES.iter().find(|family| family.name == name).unwrap()
    }

    #[test]
    fn each_reason_has_its_own_counter_at_each_door() {
        let counters = Counters::default();
        for (number, door) in Door::ALL.iter().enumerate() {
            for (place, reason) in Reason::ALL.iter().enumerate() {
                counters.dropped(*door, *reason, (number * 100 + place + 1) as u64);
            }
        }
        let values: Vec<u64> =
            counters.samples(family("dropped_events")).iter().map(|sample| sample.value).collect();
        let mut unique = values.clone();
        unique.dedup();
        assert_eq!((values.len(), unique), (Door::ALL.len() * Reason::ALL.len(), values));
        assert!(counters.samples(family("refused")).is_empty());
    }

    #[test]
    fn a_connection_is_open_until_it_is_dropped() {
        let counters = Counters::default();
        let open = |counters: &Counters| counters.samples(family("open_connections"))[1].value;
        let connection = counters.connected(Door::Web);
        assert_eq!(open(&counters), 1);
        drop(connection);
        assert_eq!(open(&counters), 0);
    }
}
