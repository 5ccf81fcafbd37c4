//! The router's side of a publish stream: reads runs, tells the publisher what was received, and
//! grants it credit.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{Credit, OutcomeReason, Received, Refused, RefusedReason, TableCapacity};
use millrace_proto::data::{Gap, HopHeader, flag};
use millrace_proto::limits::UNCONFIRMED_PER_PUBLISHER_MAX;
use millrace_proto::stream::stream_kind;
use millrace_proto::{CloseCode, DecodeError, PublisherId, PublisherKey, TagSetRef};

use super::metered::Metered;
use crate::core::ids::Proof;
use crate::core::metrics::{CoreMetrics, DropReason};
use crate::core::path::{
    Admission, Entered, KnownTags, Path, RunIn, RunPublisher, RunReader, RunSink, RunTags, Scope, Window,
};
use crate::core::turn::Close;
use crate::ledger::{Level, Origin, Told};
use crate::rights::{Entered as EnteredTags, Refusal, Rights};
use crate::time::Time;
use crate::transport::{ConnKey, ReadState, StreamKey, Transport};

/// The core tells publishers what was received at whole multiples of this, so that it tells several
/// in one turn.
const RECEIVED_STEP: Duration = Duration::from_millis(1);
/// Most bytes that may wait for the client while refusals are told; beyond them they are only
/// counted. It is well below what closes a client that does not read its control stream.
const REFUSALS_BYTES: usize = 64 * 1024;

/// Tag sets of one stream whose refusal is told; those beyond are counted alone. A client that
/// writes its tags out has one refusal for each run.
const NOTICES_MAX: u32 = 256;

/// How far the core has read one publisher of the stream.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    next_seq: u64,
    reported: u64,
    /// Whether its runs take a way of their own: they are dropped, or come from another cluster.
    is_apart: bool,
    /// How many publishers had the number before it.
    life: u32,
    /// Events whose end the publisher asks for and has not been told.
    untold: u64,
}

/// One publish stream.
#[derive(Debug)]
pub(super) struct PublishStream {
    pub(super) stream: StreamKey,
    pub(super) reader: RunReader,
    proof: Proof,
    /// What its client may publish.
    rights: Arc<Rights>,
    /// Tag sets whose refusal was told, at most [`NOTICES_MAX`].
    notices: u32,
    /// Whether the client can read how events end.
    confirms: bool,
    /// The last id that a run wrote out, and the id that stands for it; none if it was refused.
    inline: Option<(PublisherId, Option<PublisherId>)>,
    /// By publisher number; numbers are dense, the table bounds them.
    progress: Vec<Progress>,
    bytes_read: u64,
    unreported_bytes: u64,
    /// Whether the publisher has asked to be told at once.
    asked: bool,
    /// When the core tells the publisher `received`, if there is such a time.
    pub(super) due: Option<Time>,
    pub(super) finished: bool,
    /// How the stream has ended, while a part of it waits for the next turn.
    ended: Option<ReadState>,
}

impl PublishStream {
    pub(super) fn new(
        stream: StreamKey,
        tables: TableCapacity,
        proof: Proof,
        rights: Arc<Rights>,
        confirms: bool,
    ) -> Self {
        Self {
            stream,
            reader: RunReader::new(tables, true),
            proof,
            rights,
            notices: 0,
            confirms,
            inline: None,
            progress: Vec::new(),
            bytes_read: 0,
            unreported_bytes: 0,
            asked: false,
            due: None,
            finished: false,
            ended: None,
        }
    }

    /// What its publishers' ids follow from.
    pub(super) const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Bytes read so far.
    pub(super) const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Reads up to `limit` bytes and routes their runs, which `metered` pays for where there is a
    /// quota; refusals go to `out`. Returns whether more has arrived.
    pub(super) fn read(
        &mut self,
        conn: ConnKey,
        transport: &mut dyn Transport,
        path: &mut Path,
        out: &mut Vec<u8>,
        (credit, limit): (u64, usize),
        metered: Option<&mut Metered>,
    ) -> Result<bool, Close> {
        let mut wrong = None;
        let mut exceeds = false;
        let Self { reader, bytes_read, unreported_bytes, .. } = self;
        let mut sink = Sink {
            conn,
            path,
            proof: &self.proof,
            rights: &self.rights,
            inline: &mut self.inline,
            progress: &mut self.progress,
            notices: &mut self.notices,
            asked: &mut self.asked,
            out,
            confirms: self.confirms.then_some(conn),
            exceeds: &mut exceeds,
            metered,
        };
        if reader.has_left() {
            reader.go_on(&mut sink).map_err(|error| Close::undecodable("publish stream", &error))?;
            if *sink.exceeds {
                return Err(too_many_untold());
            }
            if reader.has_left() {
                return Ok(true);
            }
        }
        let mut read = |chunk: &[u8]| {
            if wrong.is_some() {
                return;
            }
            *bytes_read += chunk.len() as u64;
            *unreported_bytes += chunk.len() as u64;
            sink.path.metrics.bytes_in += chunk.len() as u64;
            if let Err(error) = reader.feed(chunk, &mut sink) {
                wrong = Some(error);
            }
        };
        let ended = self.ended.take();
        let state = ended.unwrap_or_else(|| transport.read(conn, self.stream, limit, &mut read));
        if let Some(error) = wrong {
            return Err(Close::undecodable("publish stream", &error));
        }
        if exceeds {
            return Err(too_many_untold());
        }
        if self.bytes_read > credit {
            return Err(Close::new(CloseCode::Limit, "publish stream: more than the credit"));
        }
        if self.reader.has_left() {
            self.ended = Some(state).filter(|state| matches!(state, ReadState::Finished | ReadState::Lost));
            return Ok(true);
        }
        match state {
            ReadState::Drained => Ok(false),
            ReadState::More => Ok(true),
            ReadState::Finished if self.is_cut() => {
                Err(Close::new(CloseCode::Malformed, "publish stream: ends within a frame"))
            }
            ReadState::Finished | ReadState::Lost => {
                path.metrics.drop(DropReason::StreamLost, u64::from(self.is_cut()));
                self.finished = true;
                Ok(false)
            }
        }
    }

    /// Whether a part of what has arrived waits for the next turn, because its tag sets need
    /// lookups.
    pub(super) const fn is_put_off(&self) -> bool {
        self.reader.has_left()
    }

    /// Applies other rights to the tag sets that have numbers.
    ///
    /// # Errors
    /// The publisher has lost the right to a tag set that it has used, or its events would be
    /// stamped otherwise.
    pub(super) fn set_rights(&mut self, rights: Arc<Rights>) -> Result<(), Close> {
        if !rights.stamps_like(&self.rights) {
            let reason = "the tags that the router stamps on its events were changed: connect again";
            return Err(Close::new(CloseCode::Replaced, reason));
        }
        for (_, tags) in self.reader.tag_sets() {
            tags.entry_flags = rights.entry_flags();
            let is_allowed = rights.may_publish(tags.tags());
            match tags.refusal {
                None if !is_allowed => {
                    let message = Refusal::NotAllowed.message(tags.tags(), &rights);
                    return Err(Close::new(
                        CloseCode::Forbidden,
                        format!("a right was withdrawn: {message}"),
                    ));
                }
                Some(DropReason::NotAllowed) if is_allowed => tags.refusal = None,
                _ => {}
            }
        }
        self.rights = rights;
        Ok(())
    }

    /// Sets the time to tell the publisher to `time`, or a little later, when others are told, too.
    /// Returns it.
    pub(super) fn set_due(&mut self, time: Time) -> Time {
        let due = time.rounded_up(RECEIVED_STEP);
        self.due = Some(due);
        due
    }

    /// Whether the stream ends within a run.
    pub(super) fn is_cut(&self) -> bool {
        !self.reader.at_frame_boundary()
    }

    /// Whether there is something to tell the publisher.
    pub(super) fn unreported(&self) -> bool {
        self.progress.iter().any(|progress| progress.next_seq > progress.reported)
    }

    /// Whether to tell the publisher at once: it has asked for that, or `bytes` were read since it
    /// was told last.
    pub(super) const fn is_pressing(&self, bytes: u64) -> bool {
        self.asked || self.unreported_bytes >= bytes
    }

    /// Appends what the publisher has not been told.
    pub(super) fn report(&mut self, out: &mut Vec<u8>) {
        self.unreported_bytes = 0;
        self.asked = false;
        for (number, progress) in self.progress.iter_mut().enumerate() {
            if progress.next_seq > progress.reported {
                progress.reported = progress.next_seq;
                Received { publisher: number as u64, next_seq: progress.next_seq }.encode(out);
            }
        }
    }

    /// Appends how events ended. Returns how many were told, of publishers that still have their
    /// number.
    pub(super) fn tell_ended(&mut self, told: &[Told], out: &mut Vec<u8>, metrics: &mut CoreMetrics) {
        for Told { number, life, outcome, events } in told {
            let Some(progress) =
                self.progress.get_mut(*number as usize).filter(|progress| progress.life == *life)
            else {
                continue;
            };
            progress.untold = progress.untold.saturating_sub(*events);
            metrics.outcomes[outcome.kind as usize] += events;
            for &reason in &outcome.reasons {
                metrics.outcome_reasons[reason as usize] += events;
            }
            outcome.encode(out);
        }
    }

    /// Appends a higher credit when a quarter of `window` is used, and with it what was received.
    /// Returns the credit in force.
    pub(super) fn extend_credit(&mut self, credit: u64, window: u64, out: &mut Vec<u8>) -> u64 {
        if credit.saturating_sub(self.bytes_read) > window / 4 * 3 {
            return credit;
        }
        let credit = self.bytes_read + window;
        Credit { bytes: credit }.encode(out);
        self.report(out);
        credit
    }
}

/// Closes a client whose publisher has more events without an outcome than it may.
fn too_many_untold() -> Close {
    let reason = "publish stream: more events without an outcome than a publisher may have; await outcomes";
    Close::new(CloseCode::Limit, reason)
}

struct Sink<'a> {
    conn: ConnKey,
    path: &'a mut Path,
    proof: &'a Proof,
    rights: &'a Rights,
    inline: &'a mut Option<(PublisherId, Option<PublisherId>)>,
    progress: &'a mut Vec<Progress>,
    notices: &'a mut u32,
    asked: &'a mut bool,
    /// Control frames for the client.
    out: &'a mut Vec<u8>,
    /// The connection, if its client can read how events end.
    confirms: Option<ConnKey>,
    /// Set when a publisher has more events without an outcome than it may.
    exceeds: &'a mut bool,
    /// Pays for runs, where the client's identity has a quota.
    metered: Option<&'a mut Metered>,
}

impl Sink<'_> {
    /// The id for a run that writes `claimed` out, with index 0.
    #[cold]
    fn prove_inline(&mut self, claimed: PublisherId) -> Option<PublisherId> {
        match *self.inline {
            Some((last, id)) if last == claimed => id,
            _ => {
                let id = self.proof.prove(claimed, 0).ok();
                self.path.metrics.publishers_refused += u64::from(id.is_none());
                *self.inline = Some((claimed, id));
                id
            }
        }
    }

    /// Whom to tell how a run ends, if it asks for that.
    #[cold]
    fn origin(&mut self, number: Option<u64>, hop: &HopHeader<'_>, run: &RunIn<'_>) -> Option<Origin> {
        let conn = self.confirms?;
        Level::of_flags(hop.flags)?;
        let number = u32::try_from(number?).ok()?;
        let progress = self.progress.get_mut(number as usize)?;
        progress.untold += run.body.count();
        *self.exceeds |= progress.untold > UNCONFIRMED_PER_PUBLISHER_MAX;
        Some(Origin::Publisher { conn, number, life: progress.life })
    }

    /// A run that is dropped, or that comes from another cluster.
    #[cold]
    fn run_apart(
        &mut self,
        tags: &mut KnownTags,
        publisher: RunPublisher,
        hop: &HopHeader<'_>,
        run: &RunIn<'_>,
    ) {
        let RunPublisher { key, number } = publisher;
        let origin = self.origin(number, hop, run);
        if self.rights.forwards() && tags.refusal.is_none() {
            let entered = Entered { publisher: key, flags: hop.flags, run, from: None, origin, place: None };
            return self.path.enter_crossed(tags, &entered, hop, self.rights.from);
        }
        self.path.metrics.drop(tags.refusal.unwrap_or(DropReason::Publisher), run.body.count());
        if let Some(origin) = origin {
            self.path.tell_dropped(origin, hop.flags, &run.body, OutcomeReason::Forbidden);
        }
    }

    fn refuse(&mut self, reason: RefusedReason, publisher: Option<u64>, message: String) {
        if self.out.len() < REFUSALS_BYTES {
            Refused { reason, publisher, message, ..Refused::default() }.encode(self.out);
        }
    }
}

impl RunSink for Sink<'_> {
    fn prefetch(&mut self, window: &Window) {
        self.path.prefetch(window, Scope::All);
    }

    #[inline]
    fn run(&mut self, tags: &mut KnownTags, publisher: RunPublisher, hop: &HopHeader<'_>, run: &RunIn<'_>) {
        self.path.metrics.runs_in += 1;
        self.path.metrics.events_in += run.body.count();
        let RunPublisher { mut key, number } = publisher;
        let is_apart;
        if let Some(index) = number.and_then(|number| usize::try_from(number).ok()) {
            if self.progress.len() <= index {
                self.progress.resize(index + 1, Progress::default());
            }
            let progress = &mut self.progress[index];
            progress.next_seq = progress.next_seq.max(run.body.last_seq() + 1);
            is_apart = progress.is_apart;
        } else {
            match self.prove_inline(key.publisher) {
                Some(id) => (key.publisher, is_apart) = (id, self.rights.forwards()),
                None => is_apart = true,
            }
        }
        if is_apart || tags.refusal.is_some() {
            return self.run_apart(tags, RunPublisher { key, number }, hop, run);
        }
        if !self.path.pacing.holds.is_empty() {
            self.path.note_held(key.publisher);
        }
        let origin = match hop.flags & flag::LEVEL_MASK {
            0 => None,
            _ => self.origin(number, hop, run),
        };
        let entered = Entered { publisher: key, flags: hop.flags, run, from: None, origin, place: None };
        if hop.fields.is_empty() {
            self.path.enter(tags, &entered);
        } else {
            self.path.enter_apart(self.conn, tags, &entered, hop);
        }
    }

    fn publisher_defined(&mut self, number: u64, claimed: PublisherKey, index: u64) -> PublisherKey {
        let id = self.proof.prove(claimed.publisher, index);
        // The table has taken the number, and bounds it.
        if let Ok(place) = usize::try_from(number) {
            if self.progress.len() <= place {
                self.progress.resize(place + 1, Progress::default());
            }
            let life = self.progress[place].life.wrapping_add(1);
            let is_apart = id.is_err() || self.rights.forwards();
            self.progress[place] = Progress { is_apart, life, ..Progress::default() };
        }
        match id {
            Ok(publisher) => PublisherKey { publisher, ..claimed },
            Err(why) => {
                self.path.metrics.publishers_refused += 1;
                self.refuse(RefusedReason::Publisher, Some(number), why.to_owned());
                claimed
            }
        }
    }

    fn admit(&mut self, tags: TagSetRef<'_>) -> Admission {
        let EnteredTags { stamped, refusal } = self.rights.enter(tags);
        let entry_flags = self.rights.entry_flags();
        let Some(refusal) = refusal else { return Admission { stamped, refusal: None, entry_flags } };
        self.path.metrics.tag_sets_refused += 1;
        let (told, reason) = match refusal {
            Refusal::ReservedKey(_) => (RefusedReason::ReservedKey, DropReason::ReservedKey),
            Refusal::StampedKey(_) => (RefusedReason::ReservedKey, DropReason::StampedKey),
            Refusal::TooLarge => (RefusedReason::Limit, DropReason::TooLarge),
            Refusal::NotAllowed => (RefusedReason::Forbidden, DropReason::NotAllowed),
        };
        if *self.notices < NOTICES_MAX {
            *self.notices += 1;
            // A tag set belongs to no publisher: the first one stands for all.
            self.refuse(told, Some(0), refusal.message(tags, self.rights));
        }
        Admission { stamped, refusal: Some(reason), entry_flags }
    }

    fn takes_packed(&self) -> bool {
        self.rights.forwards()
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), DecodeError> {
        if !self.rights.forwards() {
            return Err(DecodeError::Malformed { what: "publish stream: gap" });
        }
        self.path.cluster_shed(gap);
        Ok(())
    }

    fn preamble(&mut self, kind: u64, _: &[u8]) -> Result<(), DecodeError> {
        let is_publish = kind == stream_kind::PUBLISH;
        is_publish.then_some(()).ok_or(DecodeError::Malformed { what: "stream preamble" })
    }

    fn report(&mut self) {
        *self.asked = true;
    }

    fn skipped(&mut self) {
        self.path.metrics.frames_skipped += 1;
    }

    #[inline]
    fn is_spent(&self) -> bool {
        self.path.lookups_are_spent()
    }

    #[inline]
    fn checks_runs(&self) -> bool {
        self.metered.is_some() || self.is_spent() || self.path.new_tag_sets_are_spent()
    }

    fn is_too_new(&self, tags: RunTags<'_>) -> bool {
        self.path.is_too_new(tags)
    }

    fn pays_for(&mut self, frame: &[u8]) -> bool {
        self.metered.as_mut().is_none_or(|metered| metered.pay(frame))
    }

    fn is_settled(&self, tags: &KnownTags) -> bool {
        self.path.is_settled(tags)
    }
}
