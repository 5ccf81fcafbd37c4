//! Opens a folder of history files, or says what is wrong with it.

use std::path::Path;
use std::sync::Arc;

use millrace_engine::history::PastLives;
use millrace_engine::history::files::{Archive, FileLimits};
use millrace_proto::data::Source;

use super::book::FilesBook;
use super::disk::{DiskStorage, FolderError};
use super::post::FilesPost;
use super::thread::FilesThread;
use crate::config::{Compression, HistorySettings};
use crate::start_error::StartError;

/// An open folder, with the thread that is to keep it.
pub(crate) struct Opened {
    pub(crate) post: FilesPost,
    pub(crate) thread: FilesThread,
    pub(crate) book: FilesBook,
    /// What it has of earlier lives.
    pub(crate) past: Arc<PastLives>,
}

/// Opens the folder of a router, if it has one; `now` is the time of day, nanoseconds since 1970.
pub(crate) fn open(
    settings: &HistorySettings,
    present: Source,
    now: u64,
) -> Result<Option<Opened>, StartError> {
    let Some(folder) = &settings.dir else { return Ok(None) };
    let failed = |problem: String| StartError::HistoryFiles { folder: folder.clone(), problem };
    let storage = DiskStorage::open(folder).map_err(|error| failed(error.to_string()))?;
    let limits = FileLimits {
        bytes: settings.file_bytes,
        age: settings.age,
        free_percent: u64::from(settings.free_percent),
        packs: settings.compression == Compression::Zstd,
    };
    let archive = Archive::open(storage, limits, present, now);
    let mut archive = archive.map_err(|error| failed(format!("it cannot be read: {error}")))?;
    let past = Arc::new(archive.take_past().unwrap_or_default());
    let book = FilesBook::default();
    book.set(archive.counts());
    let (post, orders) = FilesPost::new(book.clone());
    let thread = FilesThread::new(archive, orders, book.clone(), folder.clone());
    Ok(Some(Opened { post, thread, book, past }))
}

/// Looks at a folder without changing anything: a warning where a router uses it now.
///
/// # Errors
/// What a start would refuse.
pub(crate) fn check(folder: &Path) -> Result<Option<String>, String> {
    match DiskStorage::look(folder) {
        Ok(()) => Ok(None),
        Err(FolderError::Locked) => Ok(Some(format!(
            "`history.dir`: a router uses {} now; a second one needs a folder of its own",
            folder.display()
        ))),
        Err(error) => Err(format!("setting `history.dir`: {}: {error}", folder.display())),
    }
}
