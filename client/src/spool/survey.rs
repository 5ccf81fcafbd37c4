//! What a folder holds, found without changing anything.
//!
//! Reads of each sealed segment its header and its seal; of the one that was written last,
//! everything; of a segment whose seal is damaged, everything, too. A segment that cannot be one is
//! named with the reason and left out. Whatever the bytes are, this ends: each file is walked once,
//! forwards.

use std::ops::Range;

use super::identity::{self, Identity};
use super::index::Segment;
use super::journal::{self, Read, State};
use super::segment::{self, Scan};
use super::storage::{Listed, Storage, StorageError, StorageFile};

/// Ending of files that are set aside.
pub(super) const BAD: &str = ".bad";

/// A file that is no part of the spool, though its name says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its name, before it is renamed.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The file that says what is final.
#[derive(Debug)]
pub(super) enum JournalFile {
    Missing,
    /// Its making was not finished.
    Blank,
    /// No half of it can be read.
    Damaged,
    Whole(Box<Read>),
}

impl JournalFile {
    fn look<S: Storage>(storage: &S, listed: &Listed) -> Result<Self, StorageError> {
        if listed.bytes != journal::BYTES {
            return Ok(Self::Blank);
        }
        let file = storage.open(&listed.name)?;
        Ok(match journal::read(file.bytes()) {
            Some(read) => Self::Whole(Box::new(read)),
            None if file.bytes().iter().all(|&byte| byte == 0) => Self::Blank,
            None => Self::Damaged,
        })
    }
}

/// What a folder holds.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) identity: Option<Identity>,
    /// There is a file that should say who publishes.
    pub(super) has_identity_file: bool,
    pub(super) journal: JournalFile,
    /// By seq.
    pub(super) segments: Vec<Segment>,
    /// Of the last segment, when it has no seal.
    pub(super) open_end: Option<Scan>,
    /// Segments without a seal, the last one apart: first seqs.
    pub(super) unsealed: Vec<(u64, Scan)>,
    pub(super) set_aside: Vec<SetAside>,
    /// Files that were set aside before.
    pub(super) bad: Vec<Listed>,
    /// Files that hold nothing: their making was not finished.
    pub(super) blank: Vec<String>,
    /// Seqs whose events should be there and are not, ascending; some may be final.
    pub(super) missing: Vec<Range<u64>>,
    /// A file of a version that this one does not know: then nothing of this is true.
    pub(super) newer: Option<String>,
}

impl Survey {
    /// Looks at a folder.
    pub(super) fn take<S: Storage>(storage: &S) -> Result<Self, StorageError> {
        let mut survey = Self {
            identity: None,
            has_identity_file: false,
            journal: JournalFile::Missing,
            segments: Vec::new(),
            open_end: None,
            unsealed: Vec::new(),
            set_aside: Vec::new(),
            bad: Vec::new(),
            blank: Vec::new(),
            missing: Vec::new(),
            newer: None,
        };
        let mut files = storage.list()?;
        // The journal first, because it tells an unfinished segment from a damaged one.
        files.sort_by(|a, b| (a.name != journal::NAME, &a.name).cmp(&(b.name != journal::NAME, &b.name)));
        for file in files {
            match file.name.as_str() {
                identity::NAME => {
                    survey.has_identity_file = true;
                    let opened = storage.open(&file.name)?;
                    survey.identity = Identity::read(opened.bytes());
                    survey.look_newer(&file.name, identity::is_newer(opened.bytes()));
                }
                journal::NAME => {
                    survey.journal = JournalFile::look(storage, &file)?;
                    let is_newer = journal::is_newer(storage.open(&file.name)?.bytes());
                    survey.look_newer(&file.name, is_newer);
                }
                identity::NEW_NAME => survey.blank.push(file.name),
                name if name.ends_with(BAD) => survey.bad.push(file),
                name => {
                    if let Some(first_seq) = segment::first_seq_of(name) {
                        survey.segment(storage, first_seq, file)?;
                    }
                }
            }
        }
        survey.finish();
        Ok(survey)
    }

    /// Notes the first file that a newer version has written.
    fn look_newer(&mut self, name: &str, is_newer: bool) {
        if is_newer {
            self.newer.get_or_insert_with(|| name.to_owned());
        }
    }

    /// Looks at one segment; they come in the order of their seqs.
    fn segment<S: Storage>(
        &mut self,
        storage: &S,
        first_seq: u64,
        listed: Listed,
    ) -> Result<(), StorageError> {
        let head = storage.head(&listed.name, segment::SEGMENT_HEAD_BYTES)?;
        let begun = match &self.journal {
            JournalFile::Whole(read) => read.state.begun,
            JournalFile::Missing | JournalFile::Blank | JournalFile::Damaged => None,
        };
        self.look_newer(&listed.name, segment::is_newer(&head));
        if segment::is_blank(&head) && begun != Some(first_seq) {
            self.blank.push(listed.name);
            return Ok(());
        }
        let why = match segment::header(&head, listed.bytes) {
            None => Some("its header is damaged, or its file was cut"),
            Some(header) if header.first_seq != first_seq => Some("its name is another segment's"),
            Some(_) if self.segments.last().is_some_and(|before| before.next_seq > first_seq) => {
                Some("its seqs are those of the segment before it")
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            self.set_aside.push(SetAside { name: listed.name, bytes: listed.bytes, why });
            return Ok(());
        }
        let mut found = Segment::begin(first_seq, listed.bytes);
        if let Some(seal) = segment::seal(&head, first_seq, listed.bytes) {
            found.sealed = true;
            (found.next_seq, found.end, found.plain) = (seal.next_seq, seal.end, seal.plain);
        } else {
            let scan = segment::scan(storage.open(&listed.name)?.bytes(), first_seq);
            if scan.next.seq == first_seq && !scan.damaged {
                self.blank.push(listed.name);
                return Ok(());
            }
            (found.next_seq, found.end, found.plain) = (scan.next.seq, scan.next.at, scan.plain);
            found.damaged = scan.damaged;
            self.missing.extend(scan.lost.iter().cloned());
            self.unsealed.push((first_seq, scan));
        }
        self.segments.push(found);
        Ok(())
    }

    /// Finds what lies between the segments, and counts.
    fn finish(&mut self) {
        if let Some(last) = self.segments.last()
            && self.unsealed.last().is_some_and(|(first_seq, _)| *first_seq == last.first_seq)
        {
            self.open_end = self.unsealed.pop().map(|(_, scan)| scan);
        }
        let finals = self.state();
        let mut next_seq = finals.finals.floor();
        for segment in &self.segments {
            if segment.first_seq > next_seq {
                self.missing.push(next_seq..segment.first_seq);
            }
            next_seq = segment.next_seq;
        }
        for segment in &mut self.segments {
            segment.pending = finals.finals.pending_count(segment.first_seq..segment.next_seq);
        }
        self.missing.sort_by_key(|missing| missing.start);
        for missing in &self.missing {
            let lost = finals.finals.pending_count(missing.clone());
            let index = self.segments.partition_point(|segment| segment.next_seq <= missing.start);
            if let Some(segment) = self.segments.get_mut(index).filter(|one| one.first_seq <= missing.start) {
                segment.pending = segment.pending.saturating_sub(lost);
            }
        }
        self.missing.retain(|missing| finals.finals.pending_count(missing.clone()) > 0);
    }

    /// What the journal says; without one, that nothing from the first segment on is final.
    pub(super) fn state(&self) -> State {
        match &self.journal {
            JournalFile::Whole(read) => read.state.clone(),
            JournalFile::Missing | JournalFile::Blank | JournalFile::Damaged => State {
                finals: crate::session::publisher::Finals::below(
                    self.segments.first().map_or(0, |first| first.first_seq),
                ),
                ..State::default()
            },
        }
    }

    /// One past the last seq that is known of.
    pub(super) fn known_end(&self, state: &State) -> u64 {
        let segments = self.segments.last().map_or(0, |segment| segment.next_seq);
        segments.max(state.finals.end()).max(state.closed.unwrap_or(0))
    }
}
