//! What history files stand on: a folder. The [`Archive`](super::Archive) decides, a storage moves
//! bytes; all of its calls may block.

use std::fmt::Debug;
use std::io;

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

/// A folder of files that grow at their end.
///
/// No call leaves more behind than it says; an error of kind
/// [`StorageFull`](io::ErrorKind::StorageFull) or [`QuotaExceeded`](io::ErrorKind::QuotaExceeded)
/// means that there is no space.
pub trait Storage: Debug {
    /// All files, in any order.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self) -> io::Result<Vec<Listed>>;

    /// Makes an empty file, and takes the space that it is to grow into where the system can.
    ///
    /// # Errors
    /// There is no space, the name is taken, or the system fails. Nothing is left behind.
    fn create(&mut self, name: &str, room: u64) -> io::Result<()>;

    /// Appends to the file that was made last.
    ///
    /// # Errors
    /// There is no space, or the system fails. A part of the bytes may be there.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Up to `bytes` bytes of a file from `at` on, fewer where it ends.
    ///
    /// # Errors
    /// It is not there, or the system fails.
    fn read(&self, name: &str, at: u64, bytes: usize) -> io::Result<Vec<u8>>;

    /// Gives back space that a file has taken and does not use: it grows no more.
    ///
    /// # Errors
    /// The system fails.
    fn trim(&mut self, name: &str) -> io::Result<()>;

    /// Renames a file, over another of the new name.
    ///
    /// # Errors
    /// The system fails.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Needs no space.
    ///
    /// # Errors
    /// The system fails.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Space of the file system.
    ///
    /// # Errors
    /// The system does not say.
    fn space(&self) -> io::Result<Space>;
}

/// Whether what failed is the want of space.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
