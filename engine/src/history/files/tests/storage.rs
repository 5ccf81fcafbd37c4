//! A folder of memory that runs out of space when it is told to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use crate::history::files::{Listed, Space, Storage};

#[derive(Debug, Default)]
pub(crate) struct Folder {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Bytes that fit beside those that are there; none: any number.
    pub(super) left: Option<u64>,
    pub(super) space: Option<Space>,
}

/// Clones are one folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStorage(pub(super) Rc<RefCell<Folder>>);

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl MemoryStorage {
    pub(super) fn bytes(&self) -> u64 {
        self.0.borrow().files.values().map(|file| file.len() as u64).sum()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.borrow().files.keys().cloned().collect()
    }

    /// A copy of the folder as it is.
    pub(super) fn copy(&self) -> Self {
        let files = self.0.borrow().files.clone();
        Self(Rc::new(RefCell::new(Folder { files, ..Folder::default() })))
    }
}

impl Storage for MemoryStorage {
    fn list(&self) -> io::Result<Vec<Listed>> {
        let folder = self.0.borrow();
        let listed =
            |(name, file): (&String, &Vec<u8>)| Listed { name: name.clone(), bytes: file.len() as u64 };
        Ok(folder.files.iter().map(listed).collect())
    }

    fn create(&mut self, name: &str, _: u64) -> io::Result<()> {
        let mut folder = self.0.borrow_mut();
        if folder.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        folder.files.insert(name.to_owned(), Vec::new());
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut folder = self.0.borrow_mut();
        let fits = folder.left.unwrap_or(u64::MAX).min(bytes.len() as u64);
        folder.left = folder.left.map(|left| left - fits);
        let part = &bytes[..usize::try_from(fits).unwrap()];
        folder.files.get_mut(name).ok_or_else(missing)?.extend_from_slice(part);
        if part.len() < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read(&self, name: &str, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let folder = self.0.borrow();
        let file = folder.files.get(name).ok_or_else(missing)?;
        let at = usize::try_from(at).unwrap().min(file.len());
        Ok(file[at..file.len().min(at.saturating_add(bytes))].to_vec())
    }

    fn trim(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut folder = self.0.borrow_mut();
        let file = folder.files.remove(from).ok_or_else(missing)?;
        folder.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().files.remove(name).map(drop).ok_or_else(missing)
    }

    fn space(&self) -> io::Result<Space> {
        self.0.borrow().space.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}
