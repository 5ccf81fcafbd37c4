//! What the process that runs a router does when the admin page asks for it.

use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::time::Duration;

use crate::start_error::ReloadError;

/// Who asks waits this long for an answer: it takes milliseconds, unless the router ends.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A line for each difference, or why nothing was changed.
pub(crate) type Reloaded = Result<Vec<String>, ReloadError>;

/// What somebody asks of the process.
#[derive(Debug)]
pub(crate) enum Asked {
    /// SIGTERM or SIGINT: end in order; once more, at once.
    End,
    /// SIGHUP, or the admin page, which waits for the answer.
    Reload(Option<SyncSender<Reloaded>>),
    /// The admin page: end in order, within this time instead of the set one. The answer is the
    /// time that clients have.
    Drain(Option<Duration>, SyncSender<Duration>),
}

/// The way to the process, for the admin page.
#[derive(Debug)]
pub(crate) struct Process {
    asking: Sender<Asked>,
}

impl Process {
    pub(crate) const fn new(asking: Sender<Asked>) -> Self {
        Self { asking }
    }

    /// Has settings read anew, and waits until they are applied or refused.
    pub(crate) fn reload(&self) -> Reloaded {
        self.ask(|answer| Asked::Reload(Some(answer)))?
    }

    /// Has the router end in order. Returns the time that clients have, as soon as it has begun.
    pub(crate) fn drain(&self, grace: Option<Duration>) -> Result<Duration, ReloadError> {
        self.ask(|answer| Asked::Drain(grace, answer))
    }

    fn ask<T>(&self, asked: impl FnOnce(SyncSender<T>) -> Asked) -> Result<T, ReloadError> {
        let ended = || ReloadError::Process("the router is ending".into());
        let (sender, answer): (SyncSender<T>, Receiver<T>) = sync_channel(1);
        self.asking.send(asked(sender)).map_err(|_| ended())?;
        answer.recv_timeout(ANSWER_MAX).map_err(|_| ended())
    }
}
