//! Who publishes from a spool: the secret and the index that its id follows from, and the epoch of
//! its seqs.
//!
//! They stay for the life of the spool, so that an event that is sent again after a restart has the
//! id it had. The file holds them twice, in different sectors.

use millrace_proto::{Epoch, PublisherSecret};

use super::layout::{block, is_newer_block, read_block};
use super::storage::{Storage, StorageError, StorageFile, SyncFile};

/// Name of the file.
pub(super) const NAME: &str = "publisher";
/// Its name while it is written.
pub(super) const NEW_NAME: &str = "publisher.new";
pub(super) const BYTES: u64 = 4096;

/// Of a publisher with the index 0.
const TAG: [u8; 8] = *b"mr.pub.1";
/// Of one with another index, which is the last number.
const TAG_INDEXED: [u8; 8] = *b"mr.pub.2";
/// Where its copies stand.
const COPIES_AT: [usize; 2] = [0, 2048];

/// Who publishes from a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// What its publisher id follows from. Never shown.
    pub secret: PublisherSecret,
    /// What its id follows from besides the secret: 0 unless several publishers have one secret.
    pub index: u64,
    /// The epoch that its seqs belong to.
    pub epoch: Epoch,
}

/// Whether the file is of a version that this one does not know.
pub(super) fn is_newer(bytes: &[u8]) -> bool {
    COPIES_AT.iter().any(|&at| is_newer_block(bytes, at, &[TAG, TAG_INDEXED]))
}

impl Identity {
    /// Somebody new.
    #[cfg(feature = "spool")]
    #[must_use]
    pub fn random() -> Self {
        let epoch = rand::random::<u64>() & millrace_proto::varint::MAX;
        Self { secret: PublisherSecret(rand::random()), index: 0, epoch: Epoch(epoch) }
    }

    /// What the file says; `None` when no copy is whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        COPIES_AT.iter().find_map(|&at| {
            let indexed = || read_block(bytes, at, TAG_INDEXED);
            let plain = || read_block(bytes, at, TAG).map(|[a, b, c, d, epoch]| [a, b, c, d, epoch, 0]);
            let [a, b, c, d, epoch, index] = indexed().or_else(plain)?;
            let mut secret = [0; 32];
            for (part, number) in secret.chunks_exact_mut(8).zip([a, b, c, d]) {
                part.copy_from_slice(&number.to_le_bytes());
            }
            Some(Self { secret: PublisherSecret(secret), index, epoch: Epoch(epoch) })
        })
    }

    /// Makes the file, whole or not at all.
    pub(super) fn store<S: Storage>(&self, storage: &mut S) -> Result<(), StorageError> {
        let mut numbers = [0; 6];
        for (number, part) in numbers.iter_mut().zip(self.secret.0.chunks_exact(8)) {
            *number = part.try_into().map_or(0, u64::from_le_bytes);
        }
        (numbers[4], numbers[5]) = (self.epoch.0, self.index);
        let [secret @ .., epoch, index] = numbers;
        let [a, b, c, d] = secret;
        let block = match index {
            0 => block(TAG, [a, b, c, d, epoch]),
            _ => block(TAG_INDEXED, numbers),
        };
        let mut file = storage.create(NEW_NAME, BYTES)?;
        for at in COPIES_AT {
            file.write(at, &block);
        }
        file.syncer()?.sync()?;
        storage.rename(NEW_NAME, NAME)?;
        storage.names_syncer()?.sync()
    }
}
