//! An event as the local clients of a feed share it.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use millrace_client::receiver::BatchEvent;
use millrace_client::{EventId, TagSet};

use super::place::Place;

/// An event that came from a router. Shared by all readers of its feed, so that each form in which
/// it is written is made once.
#[derive(Debug)]
pub struct Arrival {
    /// Its name.
    pub id: EventId,
    /// When its publisher says that it happened.
    pub time: SystemTime,
    /// What it is about.
    pub tags: TagSet,
    /// What it says; a copy, because a slow reader would otherwise keep the whole batch.
    pub payload: Bytes,
    /// It may have come before.
    pub maybe_duplicate: bool,
    json: OnceLock<Bytes>,
    /// Where it stands, as far as that is known.
    place: Option<Arc<Place>>,
    place_text: OnceLock<String>,
}

impl Arrival {
    /// An event of a batch.
    #[must_use]
    pub fn new(event: &BatchEvent<'_>) -> Self {
        Self {
            id: event.id,
            time: event.time,
            tags: event.tags.clone(),
            payload: Bytes::copy_from_slice(event.payload),
            maybe_duplicate: event.maybe_duplicate,
            json: OnceLock::new(),
            place: None,
            place_text: OnceLock::new(),
        }
    }

    /// An event with its place, for clients that may come back.
    #[must_use]
    pub fn placed(event: &BatchEvent<'_>, place: Option<Arc<Place>>) -> Self {
        Self { place, ..Self::new(event) }
    }

    /// What a client shows that comes back behind it; none where nothing could be replayed.
    pub fn place(&self) -> Option<&str> {
        let place = self.place.as_ref()?;
        Some(self.place_text.get_or_init(|| place.text()))
    }

    /// Its JSON, made by `make` when it is wanted for the first time.
    pub fn json_or(&self, make: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.json.get_or_init(|| make(self))
    }

    /// An event that never was.
    #[cfg(test)]
    pub(crate) fn test(tags: TagSet, seq: u64, payload: Vec<u8>) -> Self {
        Self {
            id: EventId { seq, ..EventId::default() },
            time: SystemTime::UNIX_EPOCH,
            tags,
            payload: payload.into(),
            maybe_duplicate: false,
            json: OnceLock::new(),
            place: None,
            place_text: OnceLock::new(),
        }
    }
}
