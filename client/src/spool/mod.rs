//! The spool: a publisher's queue on disk.
//!
//! An event is on disk before it is sent, and goes away when its outcome is final. In between it
//! survives the end of the process, of the connection and of the router, and of the host as far as
//! [`SyncPolicy`] says. After a restart the spool publishes under the same id and epoch, and gives
//! pending events the seqs they had, so receivers take an event that arrives twice for one.
//!
//! ```text
//!                 append                visit                      finish
//! application ──▶ ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ ──────▶ publisher session ──────▶ final, removed
//!                 segments on disk      in order of seqs            ranges, any order
//!
//! FOLDER/                        0700, locked by one process
//!   lock
//!   publisher                    secret and epoch, twice
//!   finals                       what is final; two halves of 512 KiB
//!   00000000000000000000.seg     events; the name is the first seq
//!   00000000000000131072.seg
//!   00000000000000098304.seg.bad set aside: something in it cannot be read
//! ```
//!
//! What always holds:
//!
//! - Files never grow: their space is taken when they are made. Noting that events are final, and
//!   removing them, needs none, so a full disk cannot keep a spool full.
//! - A start reads of each full segment a head of 12 KiB, and walks the one that was written last.
//! - Damage is told and counted, never an error and never a loop: what cannot be read ends at the
//!   next mark of its segment, 64 KiB on; what no segment has is named as ranges of seqs.
//! - Seqs that may have been given are not given again. After a power loss the next seq jumps, by
//!   at most 131,072.
//! - What the spool gives up by itself has a [`Fate`], is counted, and is told once
//!   ([`Spool::poll_gone`]).
//!
//! | file | what it is |
//! |---|---|
//! | `machine`, `sync`, `reading` | [`Spool`]: what is done when; no I/O but through a [`Storage`] |
//! | `store` | [`SpoolStore`]: a spool behind a publisher's session |
//! | `recovery`, `survey`, `inspect` | what a start finds, and what it makes of it |
//! | `packing` | payloads in fewer bytes |
//! | `record`, `segment`, `journal`, `identity`, `layout` | the bytes of the files |
//! | `index`, `reader` | what is kept in memory |
//! | `quota` | [`Quota`]: what several spools may hold together |
//! | `storage`, `memory`, `disk`, `mapping` | what it stands on: memory with faults, or a folder |

mod config;
#[cfg(all(unix, feature = "spool"))]
mod disk;
mod error;
mod identity;
mod index;
mod inspect;
mod journal;
mod layout;
mod machine;
#[cfg(all(unix, feature = "spool"))]
mod mapping;
mod memory;
mod packing;
mod quota;
mod reader;
mod reading;
mod record;
mod recovery;
mod segment;
mod storage;
mod store;
mod survey;
mod sync;
#[cfg(test)]
mod tests;

pub use crate::session::publisher::Full;

#[cfg(all(unix, feature = "spool"))]
pub use self::disk::{DiskFile, DiskStorage, DiskSyncer};
pub use self::{
    config::{
        Compression, OnFull, SPOOL_BYTES_MIN, SYNC_INTERVAL_MAX, SettingError, SpoolConfig, SyncPolicy,
    },
    error::{AppendError, OpenError},
    identity::Identity,
    inspect::Inspection,
    journal::Fate,
    machine::{Appended, Gone, Spool},
    memory::{MemoryFile, MemoryStorage, MemorySyncer},
    quota::Quota,
    record::Record,
    recovery::Opened,
    segment::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN},
    storage::{Listed, Space, Storage, StorageError, StorageFile, SyncFile},
    store::SpoolStore,
    survey::SetAside,
    sync::SyncOrder,
};
