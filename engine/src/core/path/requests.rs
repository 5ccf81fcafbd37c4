//! Requests and replies on their way.
//!
//! A request goes where its tags say, as any event, and has its reply token with it: the owner of
//! its shard routes it, a group gives it to one member. A reply goes to the core that made its
//! token, and from there to the requester's receiver.

use millrace_proto::data::optional::{Addressed, REPLY_TOKEN_BYTES};
use millrace_proto::data::{Gap, GapReason, flag, hop_field};

use super::addressed::reaches;
use super::entered::{Entered, Scope};
use super::leg::{Carried, Leg};
use super::reader::KnownTags;
use super::state::Path;
use crate::core::metrics::DropReason;
use crate::core::slot::ReceiverSlot;
use crate::matching::Location;
use crate::requests::{Asked, ReplyToken, Unanswerable, Unasked};
use crate::transport::ConnKey;

impl Path {
    /// Opens a request of a client.
    pub(super) fn open_request(&mut self, conn: ConnKey, asked: Asked) -> Result<ReplyToken, DropReason> {
        let now = self.pacing.crowd.now();
        let asked = self.clients.requests.ask(now, conn, asked);
        self.metrics.requests += 1;
        self.metrics.open_requests = self.clients.requests.len() as u64;
        asked.map_err(|why| match why {
            Unasked::Full => DropReason::RecipientBusy,
            Unasked::Number => DropReason::Unasked,
        })
    }

    /// A request of a publisher enters the router on this core: its owner routes it.
    pub(super) fn enter_asked(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        addressed: &Addressed<'_>,
    ) {
        let value = addressed.encode();
        match self.positions.shards.other_owner(tags.hash) {
            None => self.deliver_carried(tags, entered, &asks(&value), Scope::All),
            Some(owner) => {
                self.copy_apart(tags, entered, Location::Core(owner), &asks(&value), flag::UNROUTED);
            }
        }
    }

    /// A request comes from a sibling or a peer.
    pub(super) fn take_asked(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        addressed: &Addressed<'_>,
        scope: Scope,
    ) {
        let is_unrouted = scope == Scope::Core && entered.flags & flag::UNROUTED != 0;
        let scope = if is_unrouted { Scope::All } else { scope };
        self.deliver_carried(tags, entered, &asks(&addressed.encode()), scope);
    }

    /// Passes a reply on to the requester, or towards it as far as `scope` reaches.
    pub(super) fn pass_reply(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        token: [u8; REPLY_TOKEN_BYTES],
        scope: Scope,
    ) {
        let read = ReplyToken::read(token);
        let own = Location::Core(self.positions.shards.core());
        let location = if read.router == self.clients.router {
            Some(Location::Core(self.clients.requests.core_of(&read)))
        } else {
            self.locations.peer_of(read.router).map(Location::Peer)
        };
        match location {
            Some(location) if location == own => self.deliver_reply(tags, entered, &read),
            Some(location) if reaches(scope, location) => {
                let value = Addressed { answers: Some(token), ..Addressed::default() }.encode();
                self.copy_apart(tags, entered, location, &asks(&value), 0);
            }
            _ => self.miss(entered, DropReason::RequesterGone),
        }
    }

    /// Gives a reply to the requester, who is a client of this core.
    fn deliver_reply(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, token: &ReplyToken) {
        let now = self.pacing.crowd.now();
        let (conn, inbox, request) = match self.clients.requests.answer(now, token) {
            Ok(requester) => requester,
            Err(Unanswerable::Forged) => return self.miss(entered, DropReason::ReplyForged),
            Err(Unanswerable::Late) => return self.miss(entered, DropReason::ReplyLate),
            Err(Unanswerable::Gone) => return self.miss(entered, DropReason::RequesterGone),
        };
        let is_there = |&slot: &ReceiverSlot| {
            self.receivers.get(slot).is_some_and(|receiver| receiver.conn == conn && !receiver.is_closing())
        };
        // Replies go to the receiver of the lowest number.
        let Some(slot) = inbox.filter(is_there).or_else(|| self.receivers.lowest_of(conn)) else {
            return self.miss(entered, DropReason::RequesterGone);
        };
        self.clients.requests.note_inbox(token, slot);
        let (answers, request) = (Some(token.bytes()), Some(request));
        let value = Addressed { answers, request, ..Addressed::default() }.encode();
        let events = entered.run.body.count();
        if !self.deliver_apart(tags, entered, slot, &value) {
            self.tell_unheard(slot, events);
        } else if entered.flags & flag::RESENT == 0 {
            // What was sent before may have been counted before.
            self.clients.requests.replied(token, events);
            self.metrics.open_requests = self.clients.requests.len() as u64;
        }
    }

    /// Replies found no room at who asked: it hears that some are missing, and so does not take
    /// those who replied for silent.
    fn tell_unheard(&mut self, slot: ReceiverSlot, events: u64) {
        let Some((receiver, deliveries)) = self.receivers.parts_mut(slot) else { return };
        Leg { slot, receiver, deliveries }.push_gap(Gap {
            reason: GapReason::Overflow,
            events,
            router: None,
        });
        self.receivers.mark(slot);
    }
}

/// What a run asks or answers, encoded.
const fn asks(value: &[u8]) -> Carried<'_> {
    Carried { field: hop_field::RECIPIENTS, value }
}
