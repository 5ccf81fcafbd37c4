//! History files of a simulated router: the engine's archive on a disk that outlives the process.
//!
//! What cores hand over to the thread of the files waits in its mailbox. A process that is killed
//! loses what waits there and what its cores had not handed over, and may tear what it wrote last.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use millrace_engine::history::files::{Archive, FileLimits, Listed, Space, Storage};
use millrace_engine::history::{FromFiles, HistoryAnswer, PastLives, ToFiles};
use millrace_engine::message::CoreIndex;
use millrace_engine::time::Time;
use millrace_proto::data::Source;
use rand::RngExt;
use rand_pcg::Pcg64Mcg;

/// What is kept: more than a run has.
const LIMITS: FileLimits =
    FileLimits { bytes: 64 << 20, age: Duration::from_secs(3600), free_percent: 0, packs: true };
/// Bytes that a process which is killed tears off what it wrote last, at most.
const TORN_MAX: usize = 200;
/// Bytes of a file that are written when its process starts, and are whole when it is killed.
const HEAD_BYTES: usize = 64;

/// The disk of a router. Clones are one disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

impl Disk {
    /// The process was killed: half of the time in the middle of a write.
    pub fn tear(&self, rng: &mut Pcg64Mcg) {
        if let Some(mut last) = self.0.borrow_mut().last_entry()
            && rng.random_range(0..2) == 0
        {
            let whole = last.get().len();
            let torn = whole.saturating_sub(rng.random_range(0..TORN_MAX));
            last.get_mut().truncate(torn.max(HEAD_BYTES));
        }
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<Listed>> {
        let files = self.0.borrow();
        let listed = files.iter().map(|(name, file)| Listed { name: name.clone(), bytes: file.len() as u64 });
        Ok(listed.collect())
    }

    fn create(&mut self, name: &str, _: u64) -> io::Result<()> {
        match self.0.borrow_mut().insert(name.to_owned(), Vec::new()) {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().get_mut(name).ok_or_else(missing)?.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&self, name: &str, at: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let files = self.0.borrow();
        let file = files.get(name).ok_or_else(missing)?;
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(file.len());
        Ok(file[at..file.len().min(at.saturating_add(bytes))].to_vec())
    }

    fn trim(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = self.0.borrow_mut().remove(from).ok_or_else(missing)?;
        self.0.borrow_mut().insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().remove(name).map(drop).ok_or_else(missing)
    }

    fn space(&self) -> io::Result<Space> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The history files in one life of a router.
#[derive(Debug)]
pub struct Files {
    archive: Archive<Disk>,
    /// The mailbox of the thread.
    waiting: VecDeque<(CoreIndex, ToFiles)>,
}

impl Files {
    /// Opens what earlier lives have left, of which the second result tells the cores; `present` is
    /// any owner of this life.
    ///
    /// # Errors
    /// A defect of the disk.
    pub fn open(disk: &Disk, present: Source, now: Time) -> io::Result<(Self, Arc<PastLives>)> {
        let mut archive = Archive::open(disk.clone(), LIMITS, present, now.as_nanos())?;
        let past = archive.take_past().unwrap_or_default();
        Ok((Self { archive, waiting: VecDeque::new() }, Arc::new(past)))
    }

    /// A core has a word for the thread.
    pub fn put(&mut self, core: CoreIndex, word: ToFiles) {
        self.waiting.push_back((core, word));
    }

    /// The thread takes the next word. Returns its answer, and the core that asked.
    pub fn take(&mut self, now: Time) -> Option<(CoreIndex, FromFiles)> {
        let (core, word) = self.waiting.pop_front()?;
        match word {
            ToFiles::Keep(block) => self.archive.keep(core, &block, now.as_nanos()),
            ToFiles::End { next } => self.archive.end(core, next, now.as_nanos()),
            ToFiles::Ask { asker, ask } => {
                let found = self.archive.find(&ask);
                let answer = Box::new(HistoryAnswer { id: ask.id, owner: ask.owner, found });
                return Some((core, FromFiles::Answer { asker, answer }));
            }
        }
        None
    }

    /// What is kept of earlier lives, if that has changed.
    pub fn news(&mut self) -> Option<Arc<PastLives>> {
        self.archive.take_past().map(Arc::new)
    }

    /// The process ends in order: the thread takes what waits.
    pub fn end(&mut self, now: Time) {
        while !self.waiting.is_empty() {
            // Nobody hears an answer any more.
            drop(self.take(now));
        }
        self.archive.close();
    }
}
