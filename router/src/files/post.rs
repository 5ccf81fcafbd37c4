//! The mailbox of the thread that keeps history files: bounded in the bytes of blocks. Requests are
//! bounded by those who ask.

use std::fmt;
use std::sync::mpsc;

use millrace_engine::core::Core;
use millrace_engine::history::ToFiles;
use millrace_engine::message::CoreIndex;

use super::book::FilesBook;
use crate::budget::{Budget, Share};

/// Bytes of blocks that wait for the disk, over all cores: a million events per second of 100 bytes
/// fill it in half a second.
const BYTES_MAX: usize = 64 << 20;

/// A word of a core.
pub(super) struct FilesOrder {
    pub(super) core: CoreIndex,
    pub(super) word: ToFiles,
    /// The block's part of the bytes that may wait.
    pub(super) _share: Option<Share>,
}

/// One core's end of the mailbox; nothing where the router has no history files.
#[derive(Clone)]
pub(crate) struct FilesPost(Option<Way>);

#[derive(Clone)]
struct Way {
    orders: mpsc::Sender<FilesOrder>,
    budget: Budget,
    book: FilesBook,
}

impl FilesPost {
    /// The end of a router without history files.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// An end for each core, and the receiver of what they send.
    pub(super) fn new(book: FilesBook) -> (Self, mpsc::Receiver<FilesOrder>) {
        let (orders, arriving) = mpsc::channel();
        (Self(Some(Way { orders, budget: Budget::new(BYTES_MAX), book })), arriving)
    }

    /// Sends what a core has for the thread. Never waits.
    pub(crate) fn take_from(&self, engine: &mut Core, core: CoreIndex) {
        let Some(way) = &self.0 else { return };
        while let Some(word) = engine.next_to_files() {
            let share = match &word {
                ToFiles::Keep(block) if !way.budget.has_room() => {
                    way.book.overtaken(block.events());
                    continue;
                }
                ToFiles::Keep(block) => Some(way.budget.take(block.memory())),
                ToFiles::Ask { .. } | ToFiles::End { .. } => None,
            };
            // The thread ends only after the cores, or by a defect that the handle reports.
            let _ = way.orders.send(FilesOrder { core, word, _share: share });
        }
    }
}

impl fmt::Debug for FilesPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FilesPost").field(&self.0.is_some()).finish()
    }
}
