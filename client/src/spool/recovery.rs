//! Opening a spool: makes what was found whole again.
//!
//! 1. Files that the last process had not finished making are removed. Files that have the name of
//!    a segment and are none are renamed `.bad`.
//! 2. Segments without a seal get one. The last one is written on, unless something at its end
//!    cannot be read.
//! 3. Events that should be there and cannot be read are noted as final, and told.
//! 4. The next seq is the one behind the last that was written. When the host may have ended since,
//!    or the end of the last segment is damaged, it is the end of the reserve: seqs that may have
//!    been given are not given again.
//!
//! Each step can be repeated: an end of the process in the middle leaves a folder that opens.

use std::collections::VecDeque;
use std::ops::Range;

use super::config::{SPOOL_BYTES_MIN, SpoolConfig, SyncPolicy};
use super::error::OpenError;
use super::identity::{self, Identity};
use super::journal::{self, Fate, Journal, Note, State};
use super::machine::{RESERVE, Spool, Unsynced};
use super::packing::Packer;
use super::reader::Reader;
use super::segment::{self, Seal, Tail};
use super::storage::{Listed, Storage, StorageError, StorageFile, SyncFile};
use super::survey::{BAD, JournalFile, SetAside, Survey};

/// What a start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// The spool is new.
    pub created: bool,
    /// The file that says who publishes cannot be read: pending events get other ids than they had,
    /// and those that were sent already arrive twice.
    pub identity_lost: bool,
    /// The file that says what is final cannot be read: events that are final may be sent again.
    pub journal_lost: bool,
    /// Notes of what is final that cannot be read: so many stretches of events may be sent again.
    pub notes_lost: u64,
    /// Seqs of events that were pending and cannot be read, ascending.
    pub lost: Vec<Range<u64>>,
    /// Seqs that may have been given to events that are not there, because the host ended before
    /// they were synced, or the end of the last segment is damaged. No event gets them.
    pub doubtful: Option<Range<u64>>,
    /// Files that had the name of a segment and were none: renamed `.bad`.
    pub set_aside: Vec<SetAside>,
}

impl Opened {
    /// How many events are lost for certain.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.lost.iter().map(|lost| lost.end - lost.start).sum()
    }
}

impl<S: Storage> Spool<S> {
    /// Opens the spool in `storage`, or makes one that publishes as `fresh`.
    ///
    /// # Errors
    /// [`OpenError`]. Damage is none: what cannot be read is told in [`Opened`].
    pub fn open(mut storage: S, config: SpoolConfig, fresh: Identity) -> Result<(Self, Opened), OpenError> {
        if config.max_bytes < SPOOL_BYTES_MIN {
            return Err(OpenError::TooSmall { max_bytes: config.max_bytes, least: SPOOL_BYTES_MIN });
        }
        let mut survey = Survey::take(&storage)?;
        if let Some(file) = survey.newer {
            return Err(OpenError::Newer { file });
        }
        let mut opened = Opened { set_aside: survey.set_aside.clone(), ..Opened::default() };
        for name in &survey.blank {
            storage.remove(name)?;
        }
        for file in std::mem::take(&mut survey.set_aside) {
            let bad = format!("{}{BAD}", file.name);
            storage.rename(&file.name, &bad)?;
            survey.bad.push(Listed { name: bad, bytes: file.bytes });
        }
        let identity = make_identity(&mut storage, &survey, fresh, &mut opened)?;
        let (journal, state) = make_journal(&mut storage, &survey, &mut opened)?;
        let mut spool = Self {
            journal,
            config,
            identity,
            segments: VecDeque::new(),
            tail: None,
            next_seq: survey.known_end(&state),
            reserved: state.reserved,
            synced: 0,
            pending: survey.segments.iter().map(|segment| segment.pending).sum(),
            unsynced: Unsynced { full: Vec::new(), tail: false, journal: true, names: true },
            removable: Vec::new(),
            set_aside: std::mem::take(&mut survey.bad),
            reader: Reader::default(),
            packer: Packer::default(),
            gone: VecDeque::new(),
            state,
            storage,
        };
        spool.take_over(survey, &mut opened)?;
        Ok((spool, opened))
    }

    fn take_over(&mut self, mut survey: Survey, opened: &mut Opened) -> Result<(), StorageError> {
        let host = self.storage.host_life();
        let same_life = host.is_some() && host == self.state.host;
        let whole = opened.set_aside.is_empty() && !opened.journal_lost && opened.notes_lost == 0;
        let end_whole = !survey.open_end.as_ref().is_some_and(|scan| scan.damaged);
        let in_order = self.state.closed.is_some() || (same_life && whole && end_whole);
        // With nothing at all there is nothing to doubt.
        let in_order = in_order || (survey.segments.is_empty() && self.state == State::default());
        self.note(&Note::Opened(host))?;

        self.segments = std::mem::take(&mut survey.segments).into();
        let doubtful = self.next_seq..self.state.reserved.max(self.next_seq);
        for (first_seq, scan) in &survey.unsealed {
            self.seal_found(*first_seq, &seal_of(scan))?;
        }
        if let Some(scan) = &survey.open_end
            && let Some(first_seq) = self.segments.back().map(|segment| segment.first_seq)
        {
            if in_order && !scan.damaged && scan.next.seq == self.next_seq {
                let file = self.storage.open(&segment::name(first_seq))?;
                self.tail = Some(Tail::resume(file, first_seq, scan));
                self.unsynced.tail = true;
            } else {
                self.seal_found(first_seq, &seal_of(scan))?;
            }
        }
        let last = self.segments.back().map_or(self.state.finals.floor(), |segment| segment.next_seq);
        survey.missing.push(last..self.next_seq);
        if !in_order && !doubtful.is_empty() {
            self.next_seq = doubtful.end;
            self.end(Fate::Doubtful, doubtful.clone())?;
            opened.doubtful = Some(doubtful);
        }
        for missing in survey.missing {
            for lost in self.state.finals.pending_in(missing) {
                // Their segments do not count them as pending, so only the note is left.
                self.note(&Note::Final(Fate::Unreadable, lost.clone()))?;
                opened.lost.push(lost);
            }
        }
        let done = |segment: &&super::index::Segment| segment.pending == 0 && segment.sealed;
        self.removable = self.segments.iter().filter(done).map(|segment| segment.first_seq).collect();
        if self.config.sync == SyncPolicy::Never {
            // The journal alone, because it says which seqs were given: those below its reserve are
            // given without another sync, and a power loss must neither take the file nor bring
            // back that the spool was closed in order.
            self.journal.file.syncer()?.sync()?;
            self.storage.names_syncer()?.sync()?;
            return self.remove_finished(&self.removable.clone());
        }
        // What the last process had not synced; of what is on disk already, a sync costs nothing.
        for segment in self.segments.iter().filter(|segment| segment.sealed) {
            self.storage.open(&segment::name(segment.first_seq))?.syncer()?.sync()?;
        }
        self.sync()
    }

    fn note(&mut self, note: &Note) -> Result<(), StorageError> {
        self.state.apply(note);
        self.unsynced.journal = true;
        self.journal.append(note, &self.state)
    }

    /// Writes the seal of a segment that has none.
    fn seal_found(&mut self, first_seq: u64, seal: &Seal) -> Result<(), StorageError> {
        let mut file = self.storage.open(&segment::name(first_seq))?;
        segment::put_seal(&mut file, first_seq, seal);
        for segment in self.segments.iter_mut().filter(|segment| segment.first_seq == first_seq) {
            segment.sealed = true;
        }
        Ok(())
    }
}

fn seal_of(scan: &segment::Scan) -> Seal {
    let (first_time_ns, last_time_ns) = scan.times_ns.unwrap_or_default();
    let (next, plain) = (scan.next, scan.plain);
    Seal { next_seq: next.seq, end: next.at, plain, first_time_ns, last_time_ns }
}

/// Who publishes: as the folder says, or somebody new.
fn make_identity<S: Storage>(
    storage: &mut S,
    survey: &Survey,
    fresh: Identity,
    opened: &mut Opened,
) -> Result<Identity, StorageError> {
    // Without segments and without a journal nobody knows which seqs were given: the next ones
    // belong to somebody new. From a blank journal none were, because no start has finished making
    // it.
    let journal_is_there = matches!(survey.journal, JournalFile::Whole(_) | JournalFile::Blank);
    let seqs_known = !survey.segments.is_empty() || journal_is_there;
    match survey.identity {
        Some(identity) if seqs_known => return Ok(identity),
        _ => {}
    }
    opened.created = survey.segments.is_empty() && matches!(survey.journal, JournalFile::Missing);
    opened.identity_lost = !opened.created;
    if survey.has_identity_file && opened.identity_lost {
        storage.rename(identity::NAME, &format!("{}{BAD}", identity::NAME))?;
    }
    fresh.store(storage)?;
    Ok(fresh)
}

/// The journal: as it is, or a new one that takes everything that is there for pending.
fn make_journal<S: Storage>(
    storage: &mut S,
    survey: &Survey,
    opened: &mut Opened,
) -> Result<(Journal<S::File>, State), StorageError> {
    let mut state = survey.state();
    opened.journal_lost = !survey.segments.is_empty();
    if opened.journal_lost {
        state.reserved = survey.known_end(&state).saturating_add(RESERVE);
    }
    let file = match &survey.journal {
        JournalFile::Whole(read) => {
            (opened.journal_lost, opened.notes_lost) = (false, read.unreadable);
            return Ok((Journal::resume(storage.open(journal::NAME)?, read)?, read.state.clone()));
        }
        JournalFile::Damaged => {
            let mut file = storage.open(journal::NAME)?;
            let bytes = file.bytes().len();
            file.write(0, &vec![0; bytes]);
            file
        }
        JournalFile::Blank => {
            storage.remove(journal::NAME)?;
            storage.create(journal::NAME, journal::BYTES)?
        }
        JournalFile::Missing => storage.create(journal::NAME, journal::BYTES)?,
    };
    let journal = Journal::begin(file, &state);
    Ok((journal, state))
}
