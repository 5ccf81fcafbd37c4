//! What ends a run before its time: a signal, or its deadline.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::note::Note;
use crate::tell::tell;

/// Tells of the first interrupt (Ctrl-C) or SIGTERM, from here on.
///
/// # Errors
/// What the system said.
pub(super) fn tell_interrupts(notes: Sender<Note>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (interrupt, terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let (mut interrupt, mut terminate) = (interrupt, terminate);
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            // The run has gone away when nobody listens.
            let _ = notes.send(Note::Interrupted);
        });
    })?;
    Ok(())
}

/// Ends this process, and so all that it started, when its deadline passes. Dropping it disarms it.
#[derive(Debug)]
pub(super) struct Deadline {
    _armed: Sender<()>,
}

impl Deadline {
    /// Arms it. When it passes, the process says `words`, removes `folder`, and ends with exit
    /// code 1.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn arm(within: Duration, words: String, folder: Option<PathBuf>) -> io::Result<Self> {
        let (armed, disarmed): (Sender<()>, Receiver<()>) = channel();
        std::thread::Builder::new().name("deadline".to_owned()).spawn(move || {
            if disarmed.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
                tell(words);
                if let Some(folder) = folder {
                    // What stays behind among temporary files is the system's business.
                    let _ = std::fs::remove_dir_all(folder);
                }
                std::process::exit(1);
            }
        })?;
        Ok(Self { _armed: armed })
    }
}
