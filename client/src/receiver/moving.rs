//! How a task and its receivers change connections: a move to a router that has welcomed them while
//! the present one still serves, or a begin from nothing.

use std::collections::BTreeSet;

use millrace_proto::ReceiverNumber;

use super::acks::Due;
use super::farewell::Farewells;
use super::following::Following;
use super::incoming::Incoming;
use super::present::{End, Next, Present};
use super::task::Task;
use crate::connector::close_done;
use crate::disconnect::Disconnect;
use crate::link::Link;

impl Task {
    /// The connection that follows is the present one: its receivers have moved.
    pub(super) fn follow(&mut self, mut following: Following, reason: Disconnect) -> (Link, Present) {
        let moved = following.take_over(&self.members);
        let closed = self.ahead.difference(&moved).copied().collect();
        self.moved = moved;
        self.leave(reason, closed);
        let Following { link, incoming, welcome, credit, later, .. } = following;
        let (acks, leaving, publishes) = (Due::default(), None, false);
        (
            link,
            Present {
                incoming,
                acks,
                farewells: Farewells::default(),
                leaving,
                welcome,
                credit,
                publishes,
                later,
            },
        )
    }

    /// The present connection is over. Receivers that have not moved may have missed something, and
    /// the numbers of closed ones are free, but for those that the next one has yet to end.
    pub(super) fn leave(&mut self, reason: Disconnect, closed: BTreeSet<ReceiverNumber>) {
        self.ahead.clear();
        for (number, member) in &self.members.0 {
            if !self.moved.contains(number) {
                member.shared.lost();
            }
        }
        for number in std::mem::take(&mut self.closing) {
            if !closed.contains(&number) {
                self.hub.free(number);
            }
        }
        self.closing = closed;
        match &mut self.publisher {
            Some(publisher) => publisher.lost(reason),
            None => self.hub.free_publisher(),
        }
    }

    /// Lets receivers move to the connection that was found, if one was.
    pub(super) fn begin_following(&mut self, next: &mut Next, link: &mut Link, incoming: &mut Incoming) {
        if let Next::Found(_) = next
            && let Next::Found(connected) = std::mem::take(next)
        {
            let following = Following::begin(*connected, &self.members, link, incoming);
            self.ahead = following.numbers().collect();
            *next = Next::Following(Box::new(following));
        }
    }

    /// The connection that follows is lost. The present one goes on, and another one is looked for,
    /// unless some receiver has nothing left here.
    pub(super) fn follower_lost(&mut self, reason: Disconnect, present: &mut Present) -> Result<(), End> {
        let Some(leaving) = &mut present.leaving else { return Ok(()) };
        let Next::Following(following) = std::mem::take(&mut leaving.next) else { return Ok(()) };
        close_done(&following.link);
        self.attaching.follower_lost(&reason);
        for number in std::mem::take(&mut self.ahead) {
            present.incoming.set_moving(number, None);
            self.hub.wake.tell(number);
        }
        if following.has_left_old() { Err(End::Lost(reason)) } else { Ok(()) }
    }

    /// Frees the number of a receiver that its router has ended, once no router has it.
    pub(super) fn free(&mut self, number: ReceiverNumber) {
        if self.ahead.contains(&number) {
            self.closing.insert(number);
        } else {
            self.hub.free(number);
        }
    }
}
