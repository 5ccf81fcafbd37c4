//! What a spool stands on: a folder of files whose space is taken before it is written.
//!
//! The spool decides; a storage moves bytes. There are two: a folder of a disk
//! ([`DiskStorage`](super::DiskStorage)), and memory that tears writes and forgets what was not
//! synced ([`MemoryStorage`](super::MemoryStorage)), for simulators.
//!
//! Writing cannot fail, because the space is there; making a file can. What was written is safe
//! from the end of the process at once, and from the end of the host once it is synced.

use std::fmt::Debug;
use std::io;

use super::quota::Quota;

/// Why a storage did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {text}")]
pub struct StorageError {
    /// What was tried, with the name of the file.
    pub what: String,
    /// The kind of failure; [`StorageFull`](io::ErrorKind::StorageFull) when there is no space.
    pub kind: io::ErrorKind,
    /// The system's words.
    pub text: String,
}

impl StorageError {
    /// `error`, met while doing `what`.
    #[must_use]
    pub fn new(what: impl Into<String>, error: &io::Error) -> Self {
        Self { what: what.into(), kind: error.kind(), text: error.to_string() }
    }

    /// Whether space is what is missing: of the file system or of a quota.
    #[must_use]
    pub const fn is_no_space(&self) -> bool {
        matches!(self.kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// A file and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the folder.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// Space of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still use.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A folder.
pub trait Storage: Debug {
    /// An open file.
    type File: StorageFile<Syncer = Self::Syncer>;
    /// Syncs one file or the folder, perhaps on another thread.
    type Syncer: SyncFile;

    /// All files, in any order.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self) -> Result<Vec<Listed>, StorageError>;

    /// Makes a file of `bytes` zeroes and takes their space. Its name is safe once the folder is
    /// synced.
    ///
    /// # Errors
    /// There is no space ([`StorageError::is_no_space`]), the name is taken, or the system fails.
    /// Nothing is left behind but an empty file at worst.
    fn create(&mut self, name: &str, bytes: u64) -> Result<Self::File, StorageError>;

    /// The first `bytes` of a file, or all of it when there are fewer.
    ///
    /// # Errors
    /// It is not there, or the system fails.
    fn head(&self, name: &str, bytes: usize) -> Result<Vec<u8>, StorageError>;

    /// Opens a file for reading and, unless the storage is only read, writing.
    ///
    /// # Errors
    /// It is not there, or the system fails.
    fn open(&self, name: &str) -> Result<Self::File, StorageError>;

    /// Renames a file, over another of the new name.
    ///
    /// # Errors
    /// The system fails.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), StorageError>;

    /// Removes a file. Needs no space.
    ///
    /// # Errors
    /// The system fails.
    fn remove(&mut self, name: &str) -> Result<(), StorageError>;

    /// Space of the file system.
    ///
    /// # Errors
    /// The system does not say.
    fn space(&self) -> Result<Space, StorageError>;

    /// What this storage and others may hold together, where there is such a bound.
    fn quota(&self) -> Option<&Quota> {
        None
    }

    /// Syncs the names of files.
    ///
    /// # Errors
    /// The system fails.
    fn names_syncer(&self) -> Result<Self::Syncer, StorageError>;

    /// This life of the host, from its start to its end: what was written in it is there while it
    /// lasts, synced or not. `None` when nobody knows.
    fn host_life(&self) -> Option<u128>;
}

/// A file of fixed size.
pub trait StorageFile: Debug {
    /// What syncs it.
    type Syncer: SyncFile;

    /// Its bytes.
    fn bytes(&self) -> &[u8];

    /// Writes `bytes` at `at`. What does not fit the file is left out.
    fn write(&mut self, at: usize, bytes: &[u8]);

    /// Writes one little-endian word at `at`, a multiple of four, behind everything that was
    /// written before: a process that ends between the two leaves the word as it was.
    fn publish(&mut self, at: usize, word: u32);

    /// What syncs it.
    ///
    /// # Errors
    /// The system has no descriptor left.
    fn syncer(&self) -> Result<Self::Syncer, StorageError>;
}

/// Makes what was written safe from the end of the host.
pub trait SyncFile: Debug + Send + 'static {
    /// Returns when what had been written before is on the disk. Blocks for milliseconds.
    ///
    /// # Errors
    /// The disk failed; what is on it is anybody's guess.
    fn sync(&self) -> Result<(), StorageError>;
}
