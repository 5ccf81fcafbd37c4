//! Where a local client is in a stream of events, for when it comes back: here, at another gateway,
//! or after a restart.
//!
//! A place is told as a text of at most [`PLACE_BYTES_MAX`] bytes:
//!
//! | text | what it has |
//! |---|---|
//! | `c` and base64 | seconds since 1970, and the [`Cursor`]: position for each owner of each router |
//! | `t` and base64 | seconds since 1970: of a cluster whose cursor is too long |
//!
//! Owners that a cursor does not have begin at the time, so that those of a router that was not
//! there are replayed, too. With a time alone everything since then comes again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_client::receiver::Batch;
use millrace_client::{Cursor, ReceiverOptions};

/// Bytes of a place's text, at most.
pub const PLACE_BYTES_MAX: usize = 128;
/// What an event may have waited between its arrival at a router and its arrival here, and what the
/// clocks of the two may differ by.
const SLACK: Duration = Duration::from_secs(10);

/// Where a local client is in a stream of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// When what stands before it had arrived, as seen here.
    at: SystemTime,
    /// Everything before it; empty: only the time is known.
    cursor: Cursor,
}

impl Place {
    /// The place of an event that arrived at `at`, as the last one before `cursor`; `None` where
    /// routers tell no positions, because they keep no history.
    fn new(at: SystemTime, cursor: Cursor) -> Option<Self> {
        (!cursor.is_empty()).then_some(Self { at, cursor })
    }

    /// Its text.
    pub(crate) fn text(&self) -> String {
        let seconds = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut bytes = u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        let time = bytes.len();
        bytes.extend_from_slice(&self.cursor.to_bytes());
        let whole = format!("c{}", URL_SAFE_NO_PAD.encode(&bytes));
        if whole.len() <= PLACE_BYTES_MAX {
            whole
        } else {
            format!("t{}", URL_SAFE_NO_PAD.encode(&bytes[..time]))
        }
    }

    /// The place that `Place::text` gave this text for; `None` for others.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (kind, encoded) = text.split_at_checked(1)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (seconds, cursor) = bytes.split_first_chunk()?;
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u32::from_be_bytes(*seconds).into());
        let cursor = match kind {
            "c" => Cursor::from_bytes(cursor).filter(|cursor| !cursor.is_empty())?,
            "t" if cursor.is_empty() => Cursor::default(),
            _ => return None,
        };
        Some(Self { at, cursor })
    }

    /// A receiver that goes on behind it.
    pub(super) fn options(self) -> ReceiverOptions {
        let since = SystemTime::now().duration_since(self.at).unwrap_or_default() + SLACK;
        let options = ReceiverOptions::default().since(since);
        if self.cursor.is_empty() { options } else { options.cursor(self.cursor) }
    }
}

/// The places of events, batch by batch.
#[derive(Debug)]
pub struct Trail {
    at: SystemTime,
    cursor: Cursor,
    present: Option<Arc<Place>>,
}

impl Trail {
    /// The trail of the batch that a receiver reads next, behind its cursor.
    #[must_use]
    pub fn behind(cursor: Cursor) -> Self {
        let at = SystemTime::now();
        let present = Place::new(at, cursor.clone()).map(Arc::new);
        Self { at, cursor, present }
    }

    /// Passes an event or gap of the batch, by its place in [`Batch::iter`]. Returns the place
    /// behind it: with the last event of a run behind that, and before the run with those that
    /// stand before.
    pub fn pass(&mut self, batch: &Batch, entry: usize) -> Option<Arc<Place>> {
        if self.cursor.pass_entry(batch, entry) {
            self.present = Place::new(self.at, self.cursor.clone()).map(Arc::new);
        }
        self.present.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(routers: u64, owners: u64) -> Cursor {
        let place =
            |router, owner| format!("{router:016x} {:016x} {owner} {}\n", router * 7, 1_000_000 + owner);
        let lines: String =
            (0..routers).flat_map(|router| (0..owners).map(move |owner| place(router, owner))).collect();
        format!("millrace-cursor 1\n{lines}").parse().unwrap()
    }

    #[test]
    fn a_place_reads_as_it_is_written_and_is_never_too_long() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        for (routers, owners, is_whole) in
            [(1, 1, true), (1, 12, true), (2, 4, true), (3, 2, true), (3, 4, false), (100, 10, false)]
        {
            let place = Place::new(at, cursor(routers, owners)).unwrap();
            let text = place.text();
            assert!(text.len() <= PLACE_BYTES_MAX, "{text}");
            let read = Place::read(&text).unwrap();
            assert_eq!(read.at, at);
            assert_eq!(read == place, is_whole, "{routers} routers of {owners} cores");
        }
        assert_eq!(Place::new(at, Cursor::default()), None);
    }

    #[test]
    fn what_is_no_place_is_none() {
        let id = "bb8d67b0460d98c6955b8fdf8ca23add.128c83e405097313.0";
        for text in [
            "",
            "c",
            "t",
            "x",
            "cAAAA",
            "cAAAAAA",
            "tAAAA",
            "tAAAAAAAA",
            "ä",
            "c!",
            id,
            "é".repeat(9).as_str(),
        ] {
            assert_eq!(Place::read(text), None, "{text}");
        }
        assert!(Place::read("tAAAAAA").is_some());
    }
}
