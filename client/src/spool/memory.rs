//! A storage in memory that fails as disks and hosts do, for simulators.
//!
//! It counts what changes it. Told to end after so many changes, it applies the last one in part
//! and ignores the rest, as the end of a process does; a [restart](MemoryStorage::restart) with a
//! loss of power then forgets, sector by sector and name by name, some of what was not synced. Its
//! seed decides what.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::storage::{Listed, Space, Storage, StorageError, StorageFile, SyncFile};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
enum NameChange {
    Put(String, u64),
    Gone(String),
}

#[derive(Debug)]
struct Disk {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Since the names were synced.
    changes: Vec<NameChange>,
    contents: BTreeMap<u64, Content>,
    next_content: u64,
    total: u64,
    life: u128,
    steps: u64,
    steps_left: Option<u64>,
    random: u64,
}

/// How a change is applied.
enum Step {
    Whole,
    /// The process ends within it.
    Torn,
    /// The process has ended.
    Not,
}

impl Disk {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() % (bound.max(1) as u64)).unwrap_or(0)
    }

    fn step(&mut self) -> Step {
        self.steps += 1;
        match &mut self.steps_left {
            None => Step::Whole,
            Some(0) => Step::Not,
            Some(left) => {
                *left -= 1;
                if *left == 0 { Step::Torn } else { Step::Whole }
            }
        }
    }

    /// A change of names is whole or not at all.
    fn change(&mut self, changes: impl IntoIterator<Item = NameChange>) -> Result<(), StorageError> {
        if matches!(self.step(), Step::Not | Step::Torn) {
            return Err(ended());
        }
        for change in changes {
            apply(&mut self.names, &change);
            self.changes.push(change);
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.contents.get(id)).map(|file| file.live.len() as u64).sum()
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Put(name, id) => drop(names.insert(name.clone(), *id)),
        NameChange::Gone(name) => drop(names.remove(name)),
    }
}

fn ended() -> StorageError {
    StorageError::new("a write", &io::Error::other("the process has ended"))
}

fn missing(name: &str) -> StorageError {
    StorageError::new(format!("cannot open {name}"), &io::ErrorKind::NotFound.into())
}

/// A folder in memory. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    disk: Arc<Mutex<Disk>>,
}

impl MemoryStorage {
    /// An empty file system of `total` bytes. Equal seeds give equal faults.
    #[must_use]
    pub fn new(total: u64, seed: u64) -> Self {
        let disk = Disk {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            contents: BTreeMap::new(),
            next_content: 0,
            total,
            life: 1,
            steps: 0,
            steps_left: None,
            random: seed,
        };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process ends within the `steps`th change from here on: a write, a name, a file.
    pub fn end_after(&self, steps: u64) {
        self.disk().steps_left = Some(steps.max(1));
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.disk().steps_left == Some(0)
    }

    /// Changes so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.disk().steps
    }

    /// A new process; after a loss of power, a new life of the host, too. Files that are open lose
    /// their meaning.
    pub fn restart(&self, power_lost: bool) {
        let mut disk = self.disk();
        disk.steps_left = None;
        if !power_lost {
            return;
        }
        disk.life += 1;
        // Names are kept in the order in which they changed, as file systems with a journal do.
        let kept = disk.changes.len() + 1;
        let kept = disk.below(kept);
        let mut names = std::mem::take(&mut disk.durable_names);
        for change in disk.changes.drain(..).take(kept) {
            apply(&mut names, &change);
        }
        disk.durable_names.clone_from(&names);
        disk.names = names;
        let ids: Vec<u64> = disk.contents.keys().copied().collect();
        for id in ids {
            let Some(mut content) = disk.contents.remove(&id) else { continue };
            let sectors = content.live.chunks_mut(SECTOR_BYTES).zip(content.durable.chunks_mut(SECTOR_BYTES));
            for (live, durable) in sectors.filter(|(live, durable)| live != durable) {
                if disk.random() & 1 == 0 {
                    live.copy_from_slice(durable);
                } else {
                    durable.copy_from_slice(live);
                }
            }
            disk.contents.insert(id, content);
        }
    }

    /// Flips one bit of a file, as a disk that rots does. False when there is no such bit.
    #[must_use]
    pub fn flip(&self, name: &str, bit: usize) -> bool {
        let mut disk = self.disk();
        let Some(&id) = disk.names.get(name) else { return false };
        let Some(content) = disk.contents.get_mut(&id) else { return false };
        for bytes in [&mut content.live, &mut content.durable] {
            let Some(byte) = bytes.get_mut(bit / 8) else { return false };
            *byte ^= 1 << (bit % 8);
        }
        true
    }

    /// Changes the size of the file system.
    pub fn resize(&self, total: u64) {
        self.disk().total = total;
    }

    /// Puts a file there, as if somebody had copied it.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut disk = self.disk();
        let id = disk.next_content;
        disk.next_content += 1;
        disk.contents.insert(id, Content { live: bytes.to_vec(), durable: bytes.to_vec() });
        disk.names.insert(name.to_owned(), id);
        disk.durable_names.insert(name.to_owned(), id);
    }
}

impl Storage for MemoryStorage {
    type File = MemoryFile;
    type Syncer = MemorySyncer;

    fn list(&self) -> Result<Vec<Listed>, StorageError> {
        let disk = self.disk();
        let bytes = |id| disk.contents.get(id).map_or(0, |file: &Content| file.live.len() as u64);
        Ok(disk.names.iter().map(|(name, id)| Listed { name: name.clone(), bytes: bytes(id) }).collect())
    }

    fn create(&mut self, name: &str, bytes: u64) -> Result<MemoryFile, StorageError> {
        let mut disk = self.disk();
        let what = || format!("cannot make {name}");
        if disk.names.contains_key(name) {
            return Err(StorageError::new(what(), &io::ErrorKind::AlreadyExists.into()));
        }
        if disk.used() + bytes > disk.total {
            return Err(StorageError::new(what(), &io::ErrorKind::StorageFull.into()));
        }
        let id = disk.next_content;
        disk.next_content += 1;
        disk.change([NameChange::Put(name.to_owned(), id)])?;
        let zeroes = vec![0; usize::try_from(bytes).unwrap_or(0)];
        disk.contents.insert(id, Content { live: zeroes.clone(), durable: zeroes.clone() });
        Ok(MemoryFile { disk: Arc::clone(&self.disk), id, view: zeroes })
    }

    fn head(&self, name: &str, bytes: usize) -> Result<Vec<u8>, StorageError> {
        let disk = self.disk();
        let content =
            disk.names.get(name).and_then(|id| disk.contents.get(id)).ok_or_else(|| missing(name))?;
        Ok(content.live[..bytes.min(content.live.len())].to_vec())
    }

    fn open(&self, name: &str) -> Result<MemoryFile, StorageError> {
        let disk = self.disk();
        let id = *disk.names.get(name).ok_or_else(|| missing(name))?;
        let view = disk.contents.get(&id).ok_or_else(|| missing(name))?.live.clone();
        Ok(MemoryFile { disk: Arc::clone(&self.disk), id, view })
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        let id = *disk.names.get(from).ok_or_else(|| missing(from))?;
        disk.change([NameChange::Put(to.to_owned(), id), NameChange::Gone(from.to_owned())])
    }

    fn remove(&mut self, name: &str) -> Result<(), StorageError> {
        let mut disk = self.disk();
        if !disk.names.contains_key(name) {
            return Err(missing(name));
        }
        disk.change([NameChange::Gone(name.to_owned())])
    }

    fn space(&self) -> Result<Space, StorageError> {
        let disk = self.disk();
        Ok(Space { free: disk.total.saturating_sub(disk.used()), total: disk.total })
    }

    fn names_syncer(&self) -> Result<MemorySyncer, StorageError> {
        Ok(MemorySyncer { disk: Arc::clone(&self.disk), of: None })
    }

    fn host_life(&self) -> Option<u128> {
        Some(self.disk().life)
    }
}

/// A file in memory, with a copy of its bytes.
#[derive(Debug)]
pub struct MemoryFile {
    disk: Arc<Mutex<Disk>>,
    id: u64,
    view: Vec<u8>,
}

impl StorageFile for MemoryFile {
    type Syncer = MemorySyncer;

    fn bytes(&self) -> &[u8] {
        &self.view
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match disk.step() {
            Step::Whole => bytes.len(),
            Step::Torn => disk.below(bytes.len() + 1),
            Step::Not => 0,
        };
        let Some(content) = disk.contents.get_mut(&self.id) else { return };
        let count = count.min(content.live.len().saturating_sub(at));
        if count > 0 {
            content.live[at..at + count].copy_from_slice(&bytes[..count]);
            self.view[at..at + count].copy_from_slice(&bytes[..count]);
        }
    }

    fn publish(&mut self, at: usize, word: u32) {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let is_done = match disk.step() {
            Step::Whole => true,
            Step::Torn => disk.random() & 1 == 0,
            Step::Not => false,
        };
        let Some(content) = disk.contents.get_mut(&self.id).filter(|_| is_done) else { return };
        if at + 4 <= content.live.len() {
            content.live[at..at + 4].copy_from_slice(&word.to_le_bytes());
            self.view[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }

    fn syncer(&self) -> Result<MemorySyncer, StorageError> {
        Ok(MemorySyncer { disk: Arc::clone(&self.disk), of: Some(self.id) })
    }
}

/// Syncs a file in memory, or the names.
#[derive(Debug)]
pub struct MemorySyncer {
    disk: Arc<Mutex<Disk>>,
    of: Option<u64>,
}

impl SyncFile for MemorySyncer {
    fn sync(&self) -> Result<(), StorageError> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(disk.step(), Step::Whole) {
            return Err(ended());
        }
        match self.of {
            Some(id) => {
                if let Some(content) = disk.contents.get_mut(&id) {
                    content.durable.clone_from(&content.live);
                }
            }
            None => {
                disk.changes.clear();
                disk.durable_names = disk.names.clone();
            }
        }
        Ok(())
    }
}
