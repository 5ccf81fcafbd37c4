//! A publisher's part in a standby set: events with numbers, and what its router says of it.

use millrace_proto::control::{SetState, Standby};
use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use millrace_proto::varint;

use super::error::PublishError;
use super::outcome::{Ended, Outcome};
use super::retries::Retries;
use super::session::PublisherSession;
use super::speaker::PUBLISHER_NUMBER;
use super::standby::{Member, Numbered, StandbyState};
use super::store::{GivenUp, Store};
use super::tags::Tags;
use crate::time::Time;

impl<S: Store> PublisherSession<S> {
    /// Takes an event of a member of a standby set, with its number in the source, which rises. It
    /// is published, kept for the moment in which this member takes over, or passed over, because
    /// routers have had its number.
    ///
    /// # Errors
    /// [`PublishError`]; the event is not taken then. [`PublishError::WouldBlock`] also says that
    /// this member is ahead of the one that publishes by all that it may keep.
    pub fn publish_numbered<'t>(
        &mut self,
        now: Time,
        tags: impl Into<Tags<'t>>,
        time_ns: u64,
        payload: &[u8],
        source_seq: u64,
    ) -> Result<Numbered, PublishError> {
        let (tags, source_seq) = (tags.into(), source_seq.min(varint::MAX - 1));
        self.publish_kept(now);
        let Some(member) = self.standby.as_deref_mut() else { return Err(PublishError::NoSet) };
        if !member.takes(now, source_seq) {
            return Ok(Numbered::PassedOver);
        }
        if member.keeps() {
            if payload.len() > PAYLOAD_BYTES_MAX {
                return Err(PublishError::TooLarge { bytes: payload.len() });
            }
            if !member.keep(source_seq, tags, time_ns, payload) {
                return Err(PublishError::WouldBlock);
            }
            member.note(source_seq);
            return Ok(Numbered::Kept);
        }
        let seq = self.append(now, tags, time_ns, payload, (&[], Some(source_seq)))?;
        if let Some(member) = self.standby.as_deref_mut() {
            member.note(source_seq);
        }
        Ok(Numbered::Published(seq))
    }

    /// Queues what was kept, as far as there is room, once this member holds its set.
    pub(super) fn publish_kept(&mut self, now: Time) {
        let Some(mut member) = self.standby.take_if(|member| member.kept() > 0) else { return };
        while let Some(kept) = member.next_kept() {
            let fields: (&[u8], _) = (&[], Some(kept.source_seq));
            match self.append(now, kept.tags(), kept.time_ns, &kept.payload, fields) {
                Err(PublishError::WouldBlock) => break,
                // A store that takes no numbers has failed for the event before, too.
                _ => member.published_kept(),
            }
        }
        self.standby = Some(member);
    }

    /// What a router is to be asked for when a connection begins; none for a publisher without a
    /// set. Until it has answered, nothing goes out.
    pub fn standby_request(&mut self) -> Option<Standby> {
        let index = self.config.index;
        self.standby.as_deref_mut().map(|member| member.request(PUBLISHER_NUMBER, index))
    }

    /// What its router is to be told of it besides, when that is news: to be asked whenever its
    /// router has said what it is in its set.
    pub fn standby_news(&mut self) -> Option<Standby> {
        let index = self.config.index;
        self.standby.as_deref_mut().and_then(|member| member.news(PUBLISHER_NUMBER, index))
    }

    /// What it is in its set; none for a publisher without one.
    #[must_use]
    pub fn standby(&self) -> Option<StandbyState> {
        self.standby.as_deref().map(Member::state)
    }

    /// Numbered events that it keeps; those that it has passed over.
    #[must_use]
    pub fn kept(&self) -> (u64, u64) {
        self.standby.as_deref().map_or((0, 0), |member| (member.kept() as u64, member.passed_over()))
    }

    /// The router says what this publisher is in its set. When it is fenced, what has no outcome
    /// yet ends as [`Outcome::Unknown`], and what was not sent is given up.
    pub(crate) fn on_set_state(&mut self, now: Time, said: &SetState) {
        let Some(member) = self.standby.as_deref_mut() else { return };
        if member.hear(now, said) {
            let (sent, unsent) = self.window.fence();
            let unknown = sent.into_iter().map(|seqs| Ended { seqs, outcome: Outcome::Unknown });
            self.ended.extend(unknown);
            let outcome = Outcome::GivenUp { why: GivenUp::Fenced };
            self.ended.extend(unsent.into_iter().map(|seqs| Ended { seqs, outcome: outcome.clone() }));
            self.retries = Retries::default();
        }
        self.publish_kept(now);
    }

    /// Whether it waits for its router's word whether events go out.
    pub(super) fn waits_for_set(&self) -> bool {
        self.standby.as_deref().is_some_and(|member| member.stamp().is_none())
    }

    /// Whether it keeps events that it publishes as soon as it holds its set, which shows within
    /// seconds, or as soon as there is room.
    #[must_use]
    pub fn is_about_to_publish(&self) -> bool {
        let is_about = |member: &Member| member.kept() > 0 && (member.queues() || member.is_in_doubt());
        self.standby.as_deref().is_some_and(is_about)
    }
}
