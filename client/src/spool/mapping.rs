//! A file in memory: the one place of the spool that needs `unsafe`.
//!
//! A file is mapped for writing by the process that holds the folder's lock, and by nobody else;
//! a reader that only looks at a spool copies its files. Its size never changes while it is mapped,
//! and its space is taken before, because the kernel ends a process that touches a mapped page for
//! which there is no space (SIGBUS).

#![expect(
    unsafe_code,
    reason = "a mapping can only be made by unsafe code, and its words are shared with the kernel"
)]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::MmapMut;

/// A whole file, mapped.
#[derive(Debug)]
pub(super) struct Mapping {
    map: MmapMut,
}

impl Mapping {
    /// Maps `file`, which is open for reading and writing.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the folder is locked and private to its user, so nobody else writes the file or
        // cuts it; this process opens a file for writing once at a time, and never changes its
        // size.
        let map = unsafe { MmapMut::map_mut(file)? };
        Ok(Self { map })
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Writes `bytes` at `at`, as far as they fit.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let room = self.map.get_mut(at..).unwrap_or_default();
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
    }

    /// Writes one word behind all writes before it. A place that is no multiple of four, or
    /// outside, is left alone.
    pub(super) fn publish(&mut self, at: usize, word: u32) {
        if !at.is_multiple_of(4) || at.checked_add(4).is_none_or(|end| end > self.map.len()) {
            return;
        }
        // SAFETY: the four bytes are within the map (checked), aligned because maps begin at a
        // page, and borrowed exclusively.
        let shared = unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) };
        shared.store(word.to_le(), Ordering::Release);
    }
}
