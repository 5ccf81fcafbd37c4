//! Runs that name recipients, ask, or answer: a way of their own through the core, so that other
//! runs pay one comparison.
//!
//! ```text
//! publish stream ─► enter_apart ─┬─ answers ─► the requester's router (requests.rs)
//!                                ├─ names ──► each recipient: here, a sibling, a peer
//!                                ├─ asks ───► the owner, then by tags (requests.rs)
//!                                └─ a set ──► the owner, then by tags (stamped.rs)
//! ```
//!
//! What is addressed to names goes to them and to nobody else, straight from the core that read it:
//! runs of one publisher arrive at a recipient in their order. Peers answer for runs, and not for
//! names, so that each recipient's copy is a run of its own.

use millrace_proto::data::optional::Addressed;
use millrace_proto::data::{HopHeader, hop_field};
use millrace_proto::field;

use super::entered::{Entered, Scope};
use super::fate::Fates;
use super::leg::{Carried, Leg};
use super::reader::KnownTags;
use super::state::Path;
use crate::core::metrics::DropReason;
use crate::core::names::Whereabouts;
use crate::core::run::RunOut;
use crate::core::slot::ReceiverSlot;
use crate::ledger::{Origin, Span, Tally};
use crate::matching::Location;
use crate::names::Publisher;
use crate::requests::{Asked, Requests};
use crate::transport::ConnKey;

impl Path {
    /// A publisher's run has optional fields, and may be addressed.
    #[cold]
    pub(in crate::core) fn enter_apart(
        &mut self,
        conn: ConnKey,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        hop: &HopHeader<'_>,
    ) {
        let stamp = match self.judge_entering(entered, hop) {
            Ok(stamp) => stamp,
            Err(reason) => return self.drop_entered(entered, reason),
        };
        let mut addressed = match hop.addressed() {
            Ok(Some(addressed)) => addressed,
            Ok(None) => match stamp {
                Some(stamp) => return self.enter_stamped(tags, entered, &stamp),
                None => return self.enter(tags, entered),
            },
            // Whom it is for cannot be read: nobody may have it.
            Err(_) => return self.drop_entered(entered, DropReason::TooLarge),
        };
        if let Some(token) = addressed.answers {
            self.metrics.replies += entered.run.body.count();
            return self.pass_reply(tags, entered, token, Scope::All);
        }
        // Routers alone say where replies go.
        addressed.reply_to = None;
        let replies = std::mem::take(&mut addressed.replies);
        if let Some(request) = addressed.request {
            let deadline_us = addressed.deadline_us;
            match self.open_request(conn, Asked { request, deadline_us, replies }) {
                Ok(token) => {
                    addressed.reply_to = Some(token.bytes());
                    addressed.deadline_us = Requests::time_us(deadline_us);
                }
                Err(reason) => return self.drop_entered(entered, reason),
            }
        }
        if !addressed.to.is_empty() {
            self.send_to_each(tags, entered, &addressed);
        } else if addressed.reply_to.is_some() {
            self.enter_asked(tags, entered, &addressed);
        } else {
            self.enter(tags, entered);
        }
    }

    /// A run with optional fields that a sibling hands over may be addressed. Says whether it is.
    #[cold]
    pub(in crate::core) fn take_addressed(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        hop: &HopHeader<'_>,
        scope: Scope,
    ) -> bool {
        let Ok(Some(addressed)) = hop.addressed() else { return false };
        if scope == Scope::Core {
            self.metrics.events_from_siblings += entered.run.body.count();
        }
        if let Some(token) = addressed.answers {
            self.pass_reply(tags, entered, token, scope);
        } else if let [name, ..] = addressed.to[..] {
            self.send_to(tags, entered, name, &addressed, scope);
        } else {
            self.take_asked(tags, entered, &addressed, scope);
        }
        true
    }

    /// Sends a run to each recipient that it names, once.
    fn send_to_each(&mut self, tags: &mut KnownTags, entered: &Entered<'_>, addressed: &Addressed<'_>) {
        let mut names = addressed.to.clone();
        names.sort_unstable();
        names.dedup();
        let direct = match (entered.origin, span(entered)) {
            (Some(Origin::Publisher { conn, number, life }), Some(span)) => {
                let publisher = Publisher { conn, number, life };
                Some(self.clients.directs.open(publisher, span, names.iter().copied()))
            }
            _ => None,
        };
        self.metrics.addressed_events += entered.run.body.count();
        for (recipient, name) in (0..).zip(names) {
            let origin = direct.map(|direct| Origin::Recipient { direct, recipient });
            self.send_to(tags, &Entered { origin, ..*entered }, name, addressed, Scope::All);
        }
    }

    /// Sends a run to one recipient, as far as `scope` reaches.
    fn send_to(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        name: &str,
        addressed: &Addressed<'_>,
        scope: Scope,
    ) {
        let value = Addressed { to: vec![name], ..*addressed }.encode();
        let location = match self.clients.names.find(name) {
            Whereabouts::Here(slot) => {
                self.deliver_apart(tags, entered, slot, &value);
                return;
            }
            Whereabouts::Silent => return self.miss(entered, DropReason::RecipientBusy),
            Whereabouts::At(location) if reaches(scope, location) => location,
            // It has moved while the run was on its way.
            Whereabouts::At(_) | Whereabouts::Nowhere => return self.miss(entered, DropReason::NoReceiver),
        };
        self.copy_apart(tags, entered, location, &Carried { field: hop_field::RECIPIENTS, value: &value }, 0);
    }

    /// Copies a run with a hop field, and with more flags, to a sibling or a peer.
    pub(super) fn copy_apart(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        location: Location,
        carried: &Carried<'_>,
        more: u64,
    ) {
        let tag = self.intern(tags);
        let (entry, flags) = self.follow(entered);
        let flags = flags | more;
        let Self { locations, scratch, metrics, missed, ledger, .. } = self;
        scratch.fields.clear();
        field::put_bytes(&mut scratch.fields, carried.field, carried.value);
        let run = RunOut { fields: &scratch.fields, tag, entry, flags, ..apart(tags, entered) };
        let mut fates = Fates { metrics, missed, ledger };
        locations.copy(location, &run, &mut fates);
        fates.end(&run, Tally::NONE);
    }

    /// Gives a run to a receiver of this core, whatever its selectors say. False when its queue has
    /// no room.
    pub(super) fn deliver_apart(
        &mut self,
        tags: &mut KnownTags,
        entered: &Entered<'_>,
        slot: ReceiverSlot,
        value: &[u8],
    ) -> bool {
        let tag = self.intern(tags);
        let (entry, flags) = self.follow(entered);
        let run = RunOut { tag, entry, flags, ..apart(tags, entered) };
        let Self { receivers, scratch, metrics, missed, ledger, .. } = self;
        let mut fates = Fates { metrics, missed, ledger };
        let Some((receiver, deliveries)) =
            receivers.parts_mut(slot).filter(|(receiver, _)| !receiver.is_closing())
        else {
            fates.miss(&run, DropReason::NoReceiver);
            fates.end(&run, Tally::NONE);
            return true;
        };
        let subscriptions: Vec<u16> = receiver.selectors.matched_by(run.tags).collect();
        let mut leg = Leg { slot, receiver, deliveries };
        let carried = Carried { field: hop_field::RECIPIENTS, value };
        leg.put_carried(subscriptions.iter().copied(), &carried, flags, &mut scratch.fields);
        // What does not fit the queue would have others give way that their publishers take for
        // delivered.
        let fits = leg.receiver.queue.fits(&RunOut { fields: &scratch.fields, ..run });
        if fits {
            leg.push_carried(&scratch.fields, &run, &mut fates);
            receivers.mark(slot);
        } else {
            fates.miss(&run, DropReason::RecipientBusy);
        }
        fates.end(&run, Tally::NONE);
        fits
    }

    /// A run reaches its recipient not at all: it is counted, and whoever asks is told.
    pub(super) fn miss(&mut self, entered: &Entered<'_>, reason: DropReason) {
        let events = entered.run.body.count();
        self.metrics.drop(reason, events);
        let (entry, _) = self.follow(entered);
        if let (Some(entry), Some(span)) = (entry, span(entered)) {
            self.ledger.end(entry, span, Tally::missed(reason.outcome()));
        }
    }

    /// Drops a publisher's run, and tells it.
    pub(super) fn drop_entered(&mut self, entered: &Entered<'_>, reason: DropReason) {
        self.metrics.drop(reason, entered.run.body.count());
        if let Some(origin) = entered.origin {
            self.tell_dropped(origin, entered.flags, &entered.run.body, reason.outcome());
        }
    }
}

/// Whether a run may go on to a location: one that came from a peer to no peer, one that came from
/// a sibling to nobody.
pub(super) const fn reaches(scope: Scope, location: Location) -> bool {
    match scope {
        // A request is for this cluster: no reply would find its way back.
        Scope::All => !matches!(location, Location::Forward(_)),
        Scope::Router => matches!(location, Location::Core(_)),
        Scope::Core => false,
    }
}

/// The events of a run.
fn span(entered: &Entered<'_>) -> Option<Span> {
    let body = &entered.run.body;
    let events = u32::try_from(body.count()).ok()?;
    Some(Span { first: body.first_seq(), events })
}

/// The copy of an addressed run, without what its caller knows.
pub(super) fn apart<'a>(tags: &'a KnownTags, entered: &Entered<'a>) -> RunOut<'a> {
    let body = &entered.run.body;
    RunOut {
        tag: crate::routes::TagId::default(),
        number: None,
        tags: tags.tags(),
        publisher: entered.publisher,
        flags: 0,
        fields: &[],
        body: body.bytes(),
        buffer: entered.run.buffer,
        events: body.count(),
        from: entered.from,
        entry: None,
        place: None,
    }
}
