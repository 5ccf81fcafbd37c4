//! What is in a spool, for people and programs, without changing anything.

use std::ops::Range;

use millrace_proto::{Epoch, PublisherId};

use super::error::OpenError;
use super::journal::Fate;
use super::packing::Unpacker;
use super::reader::{Stretch, walk};
use super::segment;
use super::storage::{Listed, Storage, StorageError, StorageFile};
use super::survey::{JournalFile, SetAside, Survey};

/// What is in a spool. While a process uses it, this is what was there at some moment of the look.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// Who publishes, as routers call a client without a certificate: with one, the id follows from
    /// that, too. `None` when the file that says so cannot be read.
    pub publisher: Option<PublisherId>,
    /// The epoch of its seqs.
    pub epoch: Option<Epoch>,
    /// The lowest seq that is not final, and one past the last.
    pub seqs: Range<u64>,
    /// Events that are not final.
    pub pending: u64,
    /// Files of events.
    pub segments: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes that the records in them take, those of events that are final among them.
    pub records_bytes: u64,
    /// Bytes that these records would take without [`Compression`](super::Compression).
    pub plain_bytes: u64,
    /// When the oldest pending event happened, nanoseconds since 1970.
    pub oldest_time_ns: Option<u64>,
    /// How many events ended how since the spool was made.
    pub totals: [(Fate, u64); Fate::ALL.len()],
    /// The file that says what is final cannot be read: events that are final count as pending.
    pub journal_lost: bool,
    /// Seqs of pending events that cannot be read, as far as a look at the indexes shows.
    pub lost: Vec<Range<u64>>,
    /// Files that are no part of the spool, though their names say so: set aside at the next start.
    pub damaged: Vec<SetAside>,
    /// Files that were set aside.
    pub set_aside: Vec<Listed>,
}

impl Inspection {
    /// Looks at what `storage` holds.
    ///
    /// # Errors
    /// The system fails. Damage is no error.
    pub fn take<S: Storage>(storage: &S) -> Result<Self, OpenError> {
        let bytes = storage.list()?.iter().map(|file| file.bytes).sum();
        let mut survey = Survey::take(storage)?;
        if let Some(file) = survey.newer.take() {
            return Err(OpenError::Newer { file });
        }
        let state = survey.state();
        let identity = survey.identity;
        let totals = std::array::from_fn(|index| (Fate::ALL[index], state.totals[index]));
        Ok(Self {
            publisher: identity.map(|identity| PublisherId::derive(&identity.secret, "", identity.index)),
            epoch: identity.map(|identity| identity.epoch),
            seqs: state.finals.floor()..survey.known_end(&state),
            pending: survey.segments.iter().map(|segment| segment.pending).sum(),
            segments: survey.segments.len(),
            bytes,
            records_bytes: survey.segments.iter().map(|one| segment::record_bytes(one.end)).sum(),
            plain_bytes: survey.segments.iter().map(|segment| segment.plain).sum(),
            oldest_time_ns: oldest(storage, &survey)?,
            totals,
            journal_lost: !matches!(survey.journal, JournalFile::Whole(_)) && !survey.segments.is_empty(),
            lost: survey.missing,
            damaged: survey.set_aside,
            set_aside: survey.bad,
        })
    }
}

/// Time of the first pending event that can be read, in the first segment that has one.
fn oldest<S: Storage>(storage: &S, survey: &Survey) -> Result<Option<u64>, StorageError> {
    let Some(segment) = survey.segments.iter().find(|segment| segment.pending > 0) else { return Ok(None) };
    let file = storage.open(&segment::name(segment.first_seq))?;
    let (finals, first_seq) = (survey.state().finals, segment.first_seq);
    let from = finals.next_pending(first_seq);
    let place = segment::place_before(file.bytes(), first_seq, from);
    let stretch = Stretch { first_seq, from: place, next_seq: segment.next_seq, end: segment.end };
    let mut oldest = None;
    walk(file.bytes(), stretch, from, &finals, &mut Unpacker::default(), &mut |record| {
        oldest = Some(record.time_ns);
        false
    });
    Ok(oldest)
}
