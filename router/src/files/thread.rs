//! The thread that keeps history files: the only one that waits for their disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use millrace_engine::history::files::Archive;
use millrace_engine::history::{FromFiles, HistoryAnswer, PastLives, ToFiles};
use millrace_engine::message::ToCore;

use super::book::FilesBook;
use super::disk::DiskStorage;
use super::post::FilesOrder;
use crate::clock::unix_now_ns;
use crate::mail::{Command, CorePost};

/// How often what is too old goes, and what is shown is made anew.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time in which at most [`LINES_MAX`] lines are logged.
const LINES_EVERY: Duration = Duration::from_secs(60);
/// Troubles of that time that are logged; the others are counted.
const LINES_MAX: u64 = 16;

/// What the thread runs; the cores are given when it does.
pub(crate) struct FilesThread {
    archive: Archive<DiskStorage>,
    orders: mpsc::Receiver<FilesOrder>,
    book: FilesBook,
    folder: PathBuf,
    lines: Lines,
}

/// Lines that were logged lately.
struct Lines {
    since: Instant,
    said: u64,
    unsaid: u64,
}

impl FilesThread {
    pub(super) fn new(
        archive: Archive<DiskStorage>,
        orders: mpsc::Receiver<FilesOrder>,
        book: FilesBook,
        folder: PathBuf,
    ) -> Self {
        let lines = Lines { since: Instant::now(), said: 0, unsaid: 0 };
        Self { archive, orders, book, folder, lines }
    }

    /// Runs until the last core has ended.
    pub(crate) fn run(mut self, cores: &[CorePost]) {
        let mut looked = Instant::now();
        self.look(cores);
        loop {
            match self.orders.recv_timeout(LOOK_EVERY.saturating_sub(looked.elapsed())) {
                Ok(order) => self.take(order, cores),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.look(cores);
            }
        }
        self.archive.close();
        self.look(&[]);
    }

    fn take(&mut self, FilesOrder { core, word, _share }: FilesOrder, cores: &[CorePost]) {
        match word {
            ToFiles::Keep(block) => self.archive.keep(core, &block, unix_now_ns()),
            ToFiles::End { next } => self.archive.end(core, next, unix_now_ns()),
            ToFiles::Ask { asker, ask } => {
                let found = self.archive.find(&ask);
                let answer = Box::new(HistoryAnswer { id: ask.id, owner: ask.owner, found });
                tell(cores.get(usize::from(core)), FromFiles::Answer { asker, answer });
            }
        }
    }

    /// Lets go what is too old, and tells what there is.
    fn look(&mut self, cores: &[CorePost]) {
        let now = unix_now_ns();
        self.archive.expire(now);
        self.book.set(self.archive.counts());
        if let Some(past) = self.archive.take_past().map(Arc::<PastLives>::new) {
            cores.iter().for_each(|core| tell(Some(core), FromFiles::Past(Arc::clone(&past))));
        }
        self.log();
    }

    fn log(&mut self) {
        let Lines { since, said, unsaid } = &mut self.lines;
        if since.elapsed() >= LINES_EVERY {
            if *unsaid > 0 {
                tracing::warn!(lines = *unsaid, "more went wrong with history files than is logged");
            }
            (*since, *said, *unsaid) = (Instant::now(), 0, 0);
        }
        for trouble in self.archive.take_troubles() {
            if *said == LINES_MAX {
                *unsaid += 1;
                continue;
            }
            *said += 1;
            let file = self.folder.join(&trouble.file);
            tracing::warn!(file = %file.display(), at = trouble.at, "history file: it {}", trouble.what);
        }
    }
}

fn tell(core: Option<&CorePost>, word: FromFiles) {
    if let Some(core) = core {
        core.send(Command::Engine(ToCore::Files(Box::new(word))));
    }
}
