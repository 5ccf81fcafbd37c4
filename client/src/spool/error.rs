//! Why a spool did not do what it was asked for.

use super::storage::StorageError;
use crate::session::publisher::Full;

/// Why a spool cannot be opened. What is in it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The byte bound has no room for four segments.
    #[error("a spool of {max_bytes} bytes is too small: max_bytes is at least {least}")]
    TooSmall {
        /// What was asked for.
        max_bytes: u64,
        /// The least.
        least: u64,
    },
    /// Another process has it open.
    #[error(
        "{folder} is in use by another process: a spool belongs to one at a time; stop that one, or use another folder"
    )]
    Locked {
        /// The folder.
        folder: String,
    },
    /// The folder holds something else.
    #[error(
        "{folder} is not empty and no spool: name a folder of its own, which is made where it is missing"
    )]
    Foreign {
        /// The folder.
        folder: String,
    },
    /// Others may read or change the folder.
    #[error(
        "{folder} is open to other users (mode {mode:o}): run chmod 700 {folder}, after a look at what is in it"
    )]
    Exposed {
        /// The folder.
        folder: String,
        /// Its permissions.
        mode: u32,
    },
    /// There is no spool to read.
    #[error("{folder} is no spool")]
    Missing {
        /// The folder.
        folder: String,
    },
    /// A newer version has written it. Damage is told apart: the file's checksum is right.
    #[error(
        "{file} is of a version of the spool's files that this program does not know: use the one that wrote it, or a newer \
         one; nothing was changed"
    )]
    Newer {
        /// The first such file.
        file: String,
    },
    /// The system fails; without space for the first files, free some or name a folder elsewhere.
    #[error("{0}")]
    Storage(#[from] StorageError),
}

/// Why an event is not in the spool. It got no seq, and nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// It waits for room ([`OnFull::Block`](super::OnFull::Block)): try again when events became
    /// final, or space free.
    #[error("{0}; the event waits until others are final")]
    WouldBlock(Full),
    /// It is refused ([`OnFull::Refuse`](super::OnFull::Refuse)), or it would be the only one.
    #[error("{0}; the event is refused")]
    Refused(Full),
    /// It fits no segment, or exceeds what an event may carry.
    #[error("an event of {bytes} bytes exceeds the {most} that one may have here (segment_bytes)")]
    TooLarge {
        /// Bytes of its record.
        bytes: usize,
        /// The most.
        most: usize,
    },
    /// The system fails.
    #[error("{0}")]
    Storage(#[from] StorageError),
}
