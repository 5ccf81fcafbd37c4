//! What a core answers to people who ask about its clients: which sessions are slow, and who wants
//! the events of a tag set. Bounded answers, whoever asks; nothing changes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use millrace_proto::TagSetRef;

use super::connection::Connection;
use super::hot::HotPicture;
use super::machine::Core;
use super::picture::{SessionOrder, Sessions, Wanting, WantingReceiver, WantingSelector};
use super::receiver::Receiver;
use super::slot::ReceiverSlot;
use crate::matching::{Index, LocalTarget, Taker};

/// Selectors that are shown of one receiver, at most: an event that 1,024 of them match is
/// explained by a few as well.
const SELECTORS_PER_RECEIVER: usize = 8;

impl Core {
    /// The sessions that rank highest, at most `most`, and how many there are. Visits every session
    /// and receiver, some 100 ns each.
    #[must_use]
    pub fn sessions(&self, order: SessionOrder, most: usize) -> Sessions {
        let clients = self.connections.values().filter_map(|connection| match connection {
            Connection::Client(client) if client.said_hello() && !client.is_router() => Some(client),
            _ => None,
        });
        let mut sessions = Sessions::default();
        // Twice as many are gathered before the lower half goes: a bounded list, and few sorts.
        for client in clients {
            sessions.count += 1;
            sessions.first.push(client.picture(&self.path.receivers));
            if sessions.first.len() >= 2 * most.max(1) {
                keep_highest(&mut sessions, order, most);
            }
        }
        keep_highest(&mut sessions, order, most);
        sessions
    }

    /// The receivers of this core that want the events of a tag set, at most `most`, and how many
    /// there are. Costs a lookup, and a step for each selector that matches.
    #[must_use]
    pub fn wanting(&self, tags: TagSetRef<'_>, most: usize) -> Wanting {
        let mut targets: BTreeMap<ReceiverSlot, Vec<LocalTarget>> = BTreeMap::new();
        self.path.local.matches(tags, |target| {
            let of_receiver = targets.entry(target.receiver).or_default();
            if of_receiver.len() < SELECTORS_PER_RECEIVER {
                of_receiver.push(target);
            }
        });
        let open =
            targets.iter().filter_map(|(&slot, targets)| Some((self.path.receivers.get(slot)?, targets)));
        let open = open.filter(|(receiver, _)| !receiver.is_closing());
        let mut wanting = Wanting::default();
        for (receiver, targets) in open {
            wanting.count += 1;
            if wanting.first.len() < most {
                wanting.first.push(picture(receiver, targets));
            }
        }
        wanting
    }

    /// Which tags and shards most of the events have that this core owns: a sample, faded.
    #[must_use]
    pub fn hot(&self) -> HotPicture {
        self.path.hot()
    }

    /// The indexes that this core routes by: which locations, and which of its own subscriptions,
    /// want what. Snapshots, which share everything.
    #[must_use]
    pub fn indexes(&self) -> (Index<Taker>, Index<LocalTarget>) {
        (self.path.directory.clone(), self.path.local.clone())
    }
}

fn keep_highest(sessions: &mut Sessions, order: SessionOrder, most: usize) {
    sessions.first.sort_unstable_by_key(|session| (Reverse(order.rank(session)), session.conn));
    sessions.first.truncate(most);
}

fn picture(receiver: &Receiver, targets: &[LocalTarget]) -> WantingReceiver {
    let selectors = targets.iter().filter_map(|target| {
        let desk = receiver.selectors.desk.as_ref();
        Some(WantingSelector {
            text: receiver.selectors.text(target.subscription, target.selector)?.to_owned(),
            subscription: target.subscription,
            has_pattern: desk.is_some_and(|desk| desk.matcher(target.selector).is_some()),
        })
    });
    WantingReceiver {
        conn: receiver.conn,
        receiver: receiver.number,
        selectors: selectors.collect(),
        queued_bytes: receiver.queue.bytes(),
        queue_bytes_max: receiver.queue.bytes_max(),
        dropped: receiver.dropped(),
    }
}
