//! Reads what the files of earlier lives have: heads alone, and the last body of each file.
//!
//! A file ends where a head is cut off or no record stands: what the process had begun to write is
//! torn, and is no loss that anybody was promised. Damage in the middle is skipped: the next record
//! is looked for, and the file is named. A file whose own head cannot be read is set aside under
//! another name; one that a later version wrote stays as it is. Both count as bytes, and go first.

use std::io;

use super::format::{ALIGNED, BadHead, RECORD_HEAD_BYTES, RecordHead, SEGMENT_HEAD_BYTES, SegmentHead};
use super::index::Index;
use super::storage::{Listed, Storage};
use super::trouble::Trouble;

/// How names of segments end.
const SUFFIX: &str = ".history";
/// How names of files end that were set aside.
pub(super) const ASIDE: &str = ".bad";
/// Bytes that are looked through at a time for the next record.
const WINDOW_BYTES: usize = 1 << 20;

/// The name of a segment.
pub(super) fn name_of(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// What a folder has.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) index: Index,
    /// Files that cannot be read, the oldest first: name and bytes.
    pub(super) aside: Vec<(String, u64)>,
    pub(super) troubles: Vec<Trouble>,
    /// Number of the next segment.
    pub(super) next: u64,
}

impl Recovered {
    /// Reads a folder.
    pub(super) fn read(storage: &mut impl Storage) -> io::Result<Self> {
        let mut files = storage.list()?;
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let mut found = Self::default();
        for Listed { name, bytes } in files {
            if name.ends_with(ASIDE) {
                found.aside.push((name, bytes));
            } else if let Some(number) = number_of(&name) {
                found.next = found.next.max(number.saturating_add(1));
                found.file(storage, number, &name, bytes);
            }
        }
        Ok(found)
    }

    fn file(&mut self, storage: &mut impl Storage, number: u64, name: &str, bytes: u64) {
        let head = match storage.read(name, 0, SEGMENT_HEAD_BYTES) {
            Ok(head) => SegmentHead::decode(&head),
            Err(error) => {
                self.aside.push((name.to_owned(), bytes));
                return self.troubles.push(Trouble::new(name, 0, format!("cannot be read: {error}")));
            }
        };
        match head {
            Ok(head) if head.number == number => self.records(storage, head, name, bytes),
            Err(BadHead::Version(version)) => {
                self.aside.push((name.to_owned(), bytes));
                let what = format!("is of version {version}, which a later router wrote; it is not read");
                self.troubles.push(Trouble::new(name, 0, what));
            }
            Ok(_) | Err(BadHead::Damaged) => self.set_aside(storage, name, bytes),
        }
    }

    fn set_aside(&mut self, storage: &mut impl Storage, name: &str, bytes: u64) {
        // A process that ended before it wrote the head has left nothing.
        if bytes < SEGMENT_HEAD_BYTES as u64 && storage.remove(name).is_ok() {
            return;
        }
        let aside = format!("{name}{ASIDE}");
        let renamed = storage.rename(name, &aside).is_ok();
        self.troubles.push(Trouble::new(name, 0, "is damaged in its head; it is set aside".to_owned()));
        self.aside.push((if renamed { aside } else { name.to_owned() }, bytes));
    }

    fn records(&mut self, storage: &mut impl Storage, segment: SegmentHead, name: &str, bytes: u64) {
        self.index.begin(segment, bytes);
        let mut at = SEGMENT_HEAD_BYTES as u64;
        let mut records: Vec<(u64, RecordHead)> = Vec::new();
        while at + RECORD_HEAD_BYTES as u64 <= bytes {
            let Ok(head) = storage.read(name, at, RECORD_HEAD_BYTES) else { break };
            let Some(record) = RecordHead::decode(&segment, &head) else {
                let Some(next) = next_record(storage, &segment, name, (at + ALIGNED, bytes)) else { break };
                let what = format!("has {} bytes that are no record; they are skipped", next - at);
                self.troubles.push(Trouble::new(name, at, what));
                at = next;
                continue;
            };
            if at + RECORD_HEAD_BYTES as u64 + u64::from(record.body_bytes) > bytes {
                break;
            }
            records.push((at, record));
            at += record.record_bytes();
        }
        // The last body may be torn, where a file system has the length before the bytes.
        if let Some((at, last)) = records.last() {
            let body = storage.read(name, at + RECORD_HEAD_BYTES as u64, last.body_bytes as usize);
            if !body.is_ok_and(|body| last.has_body(&body)) {
                records.pop();
            }
        }
        records.into_iter().for_each(|(at, record)| self.index.add(at, record));
        if let Some(read) = self.index.segments.back_mut() {
            read.bytes = bytes;
        }
        // A process that was killed has left space behind the file's end; it is not needed.
        drop(storage.trim(name));
    }
}

/// Where the next record of a segment begins, from `at` on.
fn next_record(
    storage: &impl Storage,
    segment: &SegmentHead,
    name: &str,
    (mut at, end): (u64, u64),
) -> Option<u64> {
    while at + RECORD_HEAD_BYTES as u64 <= end {
        let window = storage.read(name, at, WINDOW_BYTES + RECORD_HEAD_BYTES).ok()?;
        for offset in (0..WINDOW_BYTES.min(window.len())).step_by(8) {
            if RecordHead::decode(segment, &window[offset..]).is_some() {
                return Some(at + offset as u64);
            }
        }
        at += WINDOW_BYTES as u64;
    }
    None
}
