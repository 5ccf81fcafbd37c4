//! Requests and replies on their way.
//!
//! A request goes where its tags say, as any event, and has its reply token with it: the owner of
//! its shard routes it, a group gives it to one member. A reply goes to the core that made its
//! token, and from there to the requester's receiver.

use millrace_proto::data::optional::{Addressed, REPLY_TOKEN_BYTES};
use millrace_proto::data::{flag, hop_field};
use millrace_proto::field;

use super::addressed::{apart, reaches};
use super::entered::{Entered, Scope};
use super::fate::Fates;
use super::leg::Leg;
use super::reader::KnownTags;
use super::state::Path;
use super::{grouped, scan};
use crate::core::metrics::DropReason;
use crate::core::run::RunOut;
use crate::core::slot::ReceiverSlot;
use crate::ledger::Tally;
use crate::matching::Location;
use crate::requests::{ReplyToken, Unanswerable, Unasked};
use crate::transport::ConnKey;

impl Path {
    /// Opens a request of a client.
    pub(super) fn open_request(
        &mut self,
        conn: ConnKey,
        request: u64,
        deadline_us: u64,
    ) -> Result<ReplyToken, DropReason> {
        let now = self.pacing.crowd.now();
        let asked = self.clients.requests.ask(now, conn, (request, deadline_us));
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
            None => self.deliver_asked(tags, entered, &value, Scope::All),
            Some(owner) => {
                self.copy_apart(tags, entered, Location::Core(owner), &value, flag::UNROUTED);
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
        self.deliver_asked(tags, entered, &addressed.encode(), scope);
    }

    /// Copies a request to every location within `scope` whose selectors match its tags.
    fn deliver_asked(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, value: &[u8], scope: Scope) {
        let tag = self.intern(tags);
        let (entry, flags) = self.follow(entered);
        let Self {
            routes,
            directory,
            local,
            locations,
            receivers,
            scans,
            scratch,
            metrics,
            missed,
            ledger,
            pacing,
            groups,
            ..
        } = self;
        let Some(route) = routes.resolve(tag, directory, local) else { return };
        let mut fields = Vec::new();
        field::put_bytes(&mut fields, hop_field::RECIPIENTS, value);
        let run = RunOut { fields: &fields, tag, entry, flags, ..apart(tags, entered) };
        let mut fates = Fates { metrics, missed, ledger };
        for takers in route.takers().chunk_by(|one, next| one.location() == next.location()) {
            let location = takers[0].location();
            // Members come last.
            if let Location::Member(_) = location {
                let now = pacing.crowd.now();
                grouped::offer(groups, now, scope, route.takers(), &run, tags.hash, &mut fates);
                break;
            }
            if reaches(scope, location) {
                locations.copy(location, &run, &mut fates);
            }
        }
        let run = RunOut { fields: &[], ..run };
        for group in route.local().chunk_by(|one, next| one.receiver == next.receiver) {
            let slot = group[0].receiver;
            let Some((receiver, deliveries)) = receivers.parts_mut(slot) else { continue };
            let is_by_payload = receiver.selectors.is_by_payload(group);
            let mut leg = Leg { slot, receiver, deliveries };
            let is_kept = if is_by_payload {
                // Who selects by payload sees an event.
                scan::deliver_by_payload(&mut leg, group, &run, &entered.run.body, scans, scratch, &mut fates)
            } else {
                let subscriptions = group.iter().map(|target| target.subscription);
                leg.put_address(subscriptions, value, run.flags, &mut scratch.fields);
                leg.push_addressed(&scratch.fields, &run, &mut fates);
                true
            };
            if is_kept {
                receivers.mark(slot);
            }
        }
        fates.end(&run, Tally::NONE);
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
                self.copy_apart(tags, entered, location, &value, 0);
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
        self.deliver_apart(tags, entered, slot, &value);
    }
}
