//! A folder of a disk.
//!
//! The folder is its user's alone (0700, files 0600) and is locked while a process uses it
//! (`flock`, which ends with the process). Files are made with their space taken. On file systems
//! that write changes elsewhere (btrfs, ZFS) taken space is no promise: put spools on ext4, XFS or
//! tmpfs.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::OpenError;
use super::mapping::Mapping;
use super::quota::Quota;
use super::segment::SEGMENT_BYTES_MAX;
use super::storage::{Listed, Space, Storage, StorageError, StorageFile, SyncFile};

const LOCK: &str = "lock";

/// The spool of one process, in a folder.
#[derive(Debug)]
pub struct DiskStorage {
    folder: PathBuf,
    /// The lock, held while this lives; `None` for a reader that changes nothing.
    lock: Option<File>,
    quota: Option<Quota>,
}

impl DiskStorage {
    /// Locks a folder, which is made when it is missing.
    ///
    /// # Errors
    /// [`OpenError`]: somebody else uses it, others may enter it, it holds something else, or the
    /// system fails.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let failed = |what: &str, error: &io::Error| {
            OpenError::Storage(StorageError::new(format!("{what} {}", folder.display()), error))
        };
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("cannot make the folder", &error));
            }
            _ => {}
        }
        let shown = || folder.display().to_string();
        let mode = fs::metadata(folder).map_err(|error| failed("cannot read", &error))?.permissions().mode();
        let mode = mode & 0o777;
        if mode & 0o077 != 0 {
            return Err(OpenError::Exposed { folder: shown(), mode });
        }
        let names = fs::read_dir(folder).map_err(|error| failed("cannot read", &error))?;
        let names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
        if !names.is_empty() && !names.iter().any(|name| name == LOCK) {
            return Err(OpenError::Foreign { folder: shown() });
        }
        let lock = options().create(true).truncate(false).open(folder.join(LOCK));
        let lock = lock.map_err(|error| failed("cannot lock", &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), lock: Some(lock), quota: None }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: shown() }),
            Err(TryLockError::Error(error)) => Err(failed("cannot lock", &error)),
        }
    }

    /// Looks at a folder, whoever uses it meanwhile, and changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Missing`]: it is no spool.
    pub fn look(folder: &Path) -> Result<Self, OpenError> {
        if !folder.join(LOCK).is_file() {
            return Err(OpenError::Missing { folder: folder.display().to_string() });
        }
        Ok(Self { folder: folder.to_owned(), lock: None, quota: None })
    }

    /// Counts its files against `quota`, those that are there among them.
    ///
    /// # Errors
    /// [`OpenError::Storage`]: the folder cannot be read.
    pub fn within(mut self, quota: Quota) -> Result<Self, OpenError> {
        quota.found(self.list()?.iter().map(|file| file.bytes).sum());
        self.quota = Some(quota);
        Ok(self)
    }

    fn failed(&self, what: &str, name: &str, error: &io::Error) -> StorageError {
        StorageError::new(format!("{what} {}", self.folder.join(name).display()), error)
    }

    fn give_back(&self, bytes: u64) {
        if let Some(quota) = &self.quota {
            quota.give_back(bytes);
        }
    }

    fn mapped(&self, name: &str, file: File) -> Result<DiskFile, StorageError> {
        let mapping = Mapping::new(&file).map_err(|error| self.failed("cannot map", name, &error))?;
        Ok(DiskFile { bytes: Bytes::Mapped(mapping), file: Arc::new(file), name: name.to_owned() })
    }
}

/// How files are opened: for their user alone, never through a link.
fn options() -> OpenOptions {
    let no_links = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(no_links);
    options
}

/// Takes the space of a new file.
fn take_space(file: &mut File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(&*file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    // Where the system has no call for it, writing takes the space.
    io::copy(&mut io::repeat(0).take(bytes), file)?;
    file.flush()
}

impl Storage for DiskStorage {
    type File = DiskFile;
    type Syncer = DiskSyncer;

    fn list(&self) -> Result<Vec<Listed>, StorageError> {
        let failed = |error: &io::Error| self.failed("cannot read", "", error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            // The process that has the lock may remove a file while this one reads the folder.
            let Ok(metadata) = entry.metadata() else { continue };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(Listed { name, bytes: metadata.len() });
            }
        }
        Ok(files)
    }

    fn create(&mut self, name: &str, bytes: u64) -> Result<DiskFile, StorageError> {
        let path = self.folder.join(name);
        let failed = |error: &io::Error| self.failed("cannot make", name, error);
        if self.quota.as_ref().is_some_and(|quota| !quota.take(bytes)) {
            return Err(failed(&io::ErrorKind::StorageFull.into()));
        }
        let made = options().create_new(true).open(&path);
        let mut file = made.map_err(|error| {
            self.give_back(bytes);
            failed(&error)
        })?;
        if let Err(error) = take_space(&mut file, bytes) {
            self.give_back(bytes);
            // Without this, the next attempt would find the name taken; it fails only where nothing
            // else works either.
            drop(fs::remove_file(&path));
            return Err(failed(&error));
        }
        self.mapped(name, file)
    }

    fn head(&self, name: &str, bytes: usize) -> Result<Vec<u8>, StorageError> {
        let failed = |error: &io::Error| self.failed("cannot read", name, error);
        let file = File::open(self.folder.join(name)).map_err(|error| failed(&error))?;
        let mut head = Vec::new();
        file.take(bytes as u64).read_to_end(&mut head).map_err(|error| failed(&error))?;
        Ok(head)
    }

    fn open(&self, name: &str) -> Result<DiskFile, StorageError> {
        if self.lock.is_none() {
            let most = usize::try_from(SEGMENT_BYTES_MAX).unwrap_or(usize::MAX);
            let copy = self.head(name, most)?;
            let file = File::open(self.folder.join(name));
            let file = file.map_err(|error| self.failed("cannot open", name, &error))?;
            return Ok(DiskFile { bytes: Bytes::Copied(copy), file: Arc::new(file), name: name.to_owned() });
        }
        let file = options().open(self.folder.join(name));
        let mut file = file.map_err(|error| self.failed("cannot open", name, &error))?;
        // A copy of a spool may have holes where there were zeroes: take their space before it is
        // written.
        #[cfg(target_os = "linux")]
        if let Ok(metadata) = file.metadata()
            && metadata.len() > 0
        {
            take_space(&mut file, metadata.len())
                .map_err(|error| self.failed("cannot open", name, &error))?;
        }
        self.mapped(name, file)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), StorageError> {
        let renamed = fs::rename(self.folder.join(from), self.folder.join(to));
        renamed.map_err(|error| self.failed("cannot rename", from, &error))
    }

    fn remove(&mut self, name: &str) -> Result<(), StorageError> {
        let path = self.folder.join(name);
        let bytes = self.quota.as_ref().and_then(|_| fs::metadata(&path).ok()).map_or(0, |file| file.len());
        fs::remove_file(path).map_err(|error| self.failed("cannot remove", name, &error))?;
        self.give_back(bytes);
        Ok(())
    }

    fn space(&self) -> Result<Space, StorageError> {
        let space = rustix::fs::statvfs(&self.folder)
            .map_err(|error| self.failed("cannot ask for the free space of", "", &error.into()))?;
        Ok(Space { free: space.f_bavail * space.f_frsize, total: space.f_blocks * space.f_frsize })
    }

    fn quota(&self) -> Option<&Quota> {
        self.quota.as_ref()
    }

    fn names_syncer(&self) -> Result<DiskSyncer, StorageError> {
        let folder = File::open(&self.folder).map_err(|error| self.failed("cannot open", "", &error))?;
        Ok(DiskSyncer { file: Arc::new(folder), name: self.folder.display().to_string() })
    }

    fn host_life(&self) -> Option<u128> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        u128::from_str_radix(&id.trim().replace('-', ""), 16).ok()
    }
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mapping),
    Copied(Vec<u8>),
}

/// A file of the folder.
#[derive(Debug)]
pub struct DiskFile {
    bytes: Bytes,
    file: Arc<File>,
    name: String,
}

impl StorageFile for DiskFile {
    type Syncer = DiskSyncer;

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mapping) => mapping.bytes(),
            Bytes::Copied(copy) => copy,
        }
    }

    /// A reader without the lock changes nothing.
    fn write(&mut self, at: usize, bytes: &[u8]) {
        if let Bytes::Mapped(mapping) = &mut self.bytes {
            mapping.write(at, bytes);
        }
    }

    /// As `write`.
    fn publish(&mut self, at: usize, word: u32) {
        if let Bytes::Mapped(mapping) = &mut self.bytes {
            mapping.publish(at, word);
        }
    }

    fn syncer(&self) -> Result<DiskSyncer, StorageError> {
        Ok(DiskSyncer { file: Arc::clone(&self.file), name: self.name.clone() })
    }
}

/// Syncs a file, what was written through its mapping included, or a folder.
#[derive(Debug)]
pub struct DiskSyncer {
    file: Arc<File>,
    name: String,
}

impl SyncFile for DiskSyncer {
    fn sync(&self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(|error| StorageError::new(format!("cannot sync {}", self.name), &error))
    }
}
