//! A folder of history files. It is this process's alone: a lock (`flock`, which ends with the
//! process) keeps others away, and files are for their user (0600).

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use millrace_engine::history::files::{Listed, Space, Storage};

const LOCK: &str = "lock";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// Another process uses it, or another router of this one.
    #[error("another router uses it: give each router a folder of its own")]
    Locked,
    /// The system fails.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

/// A folder of history files, locked while this lives.
#[derive(Debug)]
pub(super) struct DiskStorage {
    folder: PathBuf,
    _lock: File,
    /// The file that was made last.
    growing: Option<(String, File)>,
}

impl DiskStorage {
    /// Looks whether a folder could be opened, and leaves nothing behind.
    pub(super) fn look(folder: &Path) -> Result<(), FolderError> {
        let failed = |what| move |source| FolderError::System { what, source };
        let there = folder.ancestors().find(|part| part.exists()).unwrap_or(Path::new("."));
        if !there.is_dir() {
            return Err(failed("it is no folder")(io::ErrorKind::NotADirectory.into()));
        }
        // Permissions alone do not say it: of root's, and of file systems of the kernel's own.
        let probe = there.join(format!(".millrace-check-{}", std::process::id()));
        match fs::create_dir(&probe) {
            Ok(()) => fs::remove_dir(&probe).map_err(failed("nothing can be removed there"))?,
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed("nothing can be made there")(source)),
        }
        let Ok(lock) = options().open(folder.join(LOCK)) else { return Ok(()) };
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(FolderError::Locked),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }

    /// Locks a folder, which is made when it is missing.
    pub(super) fn open(folder: &Path) -> Result<Self, FolderError> {
        let failed = |what| move |source| FolderError::System { what, source };
        match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("the folder cannot be made")(source));
            }
            _ => {}
        }
        let lock = options().create(true).truncate(false).open(folder.join(LOCK));
        let lock = lock.map_err(failed("no file can be made in it"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock, growing: None }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Locked),
            Err(TryLockError::Error(source)) => Err(failed("it cannot be locked")(source)),
        }
    }
}

/// How files are opened: for their user alone, never through a link.
fn options() -> OpenOptions {
    let no_links = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(no_links);
    options
}

impl Storage for DiskStorage {
    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(Listed { name, bytes: metadata.len() });
            }
        }
        Ok(files)
    }

    fn create(&mut self, name: &str, room: u64) -> io::Result<()> {
        let file = options().create_new(true).open(self.folder.join(name))?;
        // The file's length stays what was written, so that its end shows what is torn.
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, room) {
            // Where the system has no call for it, writing takes the space.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => {
                fs::remove_file(self.folder.join(name))?;
                return Err(error.into());
            }
        }
        self.growing = Some((name.to_owned(), file));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match &mut self.growing {
            Some((growing, file)) if growing == name => file.write_all(bytes),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, name: &str, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.folder.join(name))?;
        let (mut read, mut filled) = (vec![0; bytes], 0);
        while filled < bytes {
            match file.read_at(&mut read[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        read.truncate(filled);
        Ok(read)
    }

    fn trim(&mut self, name: &str) -> io::Result<()> {
        self.growing.take_if(|(growing, _)| growing == name);
        let file = options().open(self.folder.join(name))?;
        let bytes = file.metadata()?.len();
        // Setting its length frees what was taken behind it.
        file.set_len(bytes)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.growing.take_if(|(growing, _)| growing == name);
        fs::remove_file(self.folder.join(name))
    }

    fn space(&self) -> io::Result<Space> {
        let space = rustix::fs::statvfs(&self.folder)?;
        Ok(Space { free: space.f_bavail * space.f_frsize, total: space.f_blocks * space.f_frsize })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_user_and_files_grow_at_their_end() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("a/b");
        DiskStorage::look(&folder).unwrap();
        assert!(!folder.exists(), "looking changes nothing");
        let mut disk = DiskStorage::open(&folder).unwrap();
        assert!(matches!(DiskStorage::look(&folder), Err(FolderError::Locked)));
        assert!(matches!(DiskStorage::open(&folder), Err(FolderError::Locked)));
        disk.create("one", 1 << 16).unwrap();
        disk.append("one", b"0123").unwrap();
        disk.append("one", b"4567").unwrap();
        assert_eq!(disk.read("one", 2, 4).unwrap(), b"2345");
        assert_eq!(disk.read("one", 6, 40).unwrap(), b"67");
        disk.trim("one").unwrap();
        assert!(disk.append("one", b"8").is_err(), "it grows no more");
        assert_eq!(disk.create("one", 8).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        disk.rename("one", "two").unwrap();
        let listed: Vec<Listed> = disk.list().unwrap().into_iter().filter(|file| file.name != LOCK).collect();
        assert_eq!(listed, [Listed { name: "two".into(), bytes: 8 }]);
        disk.remove("two").unwrap();
        assert!(disk.read("two", 0, 1).is_err());
        assert!(disk.space().unwrap().total > 0);
        drop(disk);
        DiskStorage::open(&folder).unwrap();
        let file = temporary.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(DiskStorage::open(&file), Err(FolderError::System { .. })));
        assert!(matches!(DiskStorage::look(&file), Err(FolderError::System { .. })));
    }
}
