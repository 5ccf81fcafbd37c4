//! Reading events back, in the order of their seqs.
//!
//! One segment is open at a time. A record that cannot be read ends the reading of what lies
//! between it and the next mark: those events are given up, told, and counted.

use super::journal::Fate;
use super::machine::Spool;
use super::reader::{Stretch, Walk, walk};
use super::record::Record;
use super::segment;
use super::storage::{Storage, StorageError, StorageFile};

impl<S: Storage> Spool<S> {
    /// Shows `take` the events from `from` on that are not final and [may be sent](Self::sendable),
    /// until it returns false. Returns the seq to go on from: that of the event that `take`
    /// refused, or one past the last.
    ///
    /// # Errors
    /// A segment cannot be opened, though it is there, or something that cannot be read cannot be
    /// noted as such.
    pub fn visit(
        &mut self,
        from: u64,
        mut take: impl FnMut(&Record<'_>) -> bool,
    ) -> Result<u64, StorageError> {
        let limit = self.sendable();
        let mut from = from;
        loop {
            // Every turn moves `from` or the place forward, or is the last.
            from = self.state.finals.next_pending(from);
            if from >= limit {
                return Ok(from.min(self.next_seq));
            }
            let index = self.segments.partition_point(|segment| segment.next_seq <= from);
            let Some(segment) = self.segments.get(index) else { return Ok(from) };
            if segment.first_seq > from {
                let missing = from..segment.first_seq;
                from = missing.end;
                self.give_up(Fate::Unreadable, missing)?;
                continue;
            }
            let (first_seq, next_seq, end) = (segment.first_seq, segment.next_seq, segment.end);
            let is_tail = self.tail.as_ref().is_some_and(|tail| tail.first_seq == first_seq);
            if !is_tail && !self.open_segment(first_seq)? {
                self.give_up(Fate::Unreadable, from..next_seq)?;
                from = next_seq;
                continue;
            }
            let bytes = match (&self.tail, &self.reader.file) {
                (Some(tail), _) if is_tail => tail.file.bytes(),
                (_, Some((_, file))) => file.bytes(),
                _ => return Ok(from),
            };
            let start = match self.reader.place {
                Some((first, place)) if first == first_seq && place.seq <= from => place,
                _ => segment::place_before(bytes, first_seq, from),
            };
            let stretch = Stretch { first_seq, from: start, next_seq: next_seq.min(limit), end };
            let unpacker = &mut self.reader.unpacker;
            match walk(bytes, stretch, from, &self.state.finals, unpacker, &mut take) {
                Walk::Stopped(place) => {
                    self.reader.place = Some((first_seq, place));
                    return Ok(place.seq);
                }
                Walk::Done(place) => {
                    self.reader.place = Some((first_seq, place));
                    from = place.seq;
                }
                Walk::Damaged(place) => {
                    let after = segment::place_after(bytes, first_seq, place, end);
                    self.reader.place = after.map(|after| (first_seq, after));
                    let lost = place.seq..after.map_or(next_seq, |after| after.seq.min(next_seq));
                    if let Some(segment) = self.segments.get_mut(index) {
                        segment.damaged = true;
                    }
                    from = from.max(lost.end);
                    self.give_up(Fate::Unreadable, lost)?;
                }
            }
        }
    }

    /// Opens a segment for reading. False when its file is gone.
    fn open_segment(&mut self, first_seq: u64) -> Result<bool, StorageError> {
        if self.reader.file.as_ref().is_some_and(|(first, _)| *first == first_seq) {
            return Ok(true);
        }
        self.reader.file = None;
        match self.storage.open(&segment::name(first_seq)) {
            Ok(file) => self.reader.file = Some((first_seq, file)),
            Err(error) if error.kind == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}
