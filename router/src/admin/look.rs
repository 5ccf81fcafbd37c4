//! What the pages show: answers of control and cores within a bound, or the last picture with its
//! age.
//!
//! Control can be busy for seconds with the interest of a whole peer, and a mailbox can be full. A
//! page says so and shows what was known last; it never waits longer than [`ANSWER_MAX`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

use crate::handle::Seen;
use crate::metrics::CoreSnapshot;
use crate::view::View;

/// How long control and cores may take to answer; they do within milliseconds. Two looks, one of
/// which waits for the other, stay within a second.
const ANSWER_MAX: Duration = Duration::from_millis(400);
/// A look serves every request that comes within this time: whoever asks often does not keep
/// control busy.
const FRESH: Duration = Duration::from_millis(20);
/// Control that has been silent for longer is not alive. The largest interest that a peer may tell
/// takes it seconds.
const CONTROL_SILENT_MAX: Duration = Duration::from_secs(60);

/// A router as it was seen.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) seen: Seen,
    /// How old the picture of control is; `None` when it was taken for this look.
    pub(super) control_age: Option<Duration>,
    /// Cores that did not answer; their last picture stands in for them, if there was one.
    pub(super) silent_cores: Vec<u16>,
}

impl Look {
    /// What does not answer, if anything.
    pub(super) fn silent(&self) -> Option<String> {
        if let Some(core) = self.silent_cores.first() {
            return Some(format!("core {core} does not answer"));
        }
        let age = self.control_age.filter(|&age| age > CONTROL_SILENT_MAX)?;
        Some(format!("control has not answered for {} s", age.as_secs()))
    }
}

/// Takes looks, one after the other.
pub(super) struct Looker {
    pub(super) view: Arc<View>,
    last: Mutex<Option<(Instant, Arc<Look>)>>,
}

impl Looker {
    pub(super) fn new(view: Arc<View>) -> Self {
        Self { view, last: Mutex::new(None) }
    }

    /// A look, at most [`FRESH`] old; `None` before control has begun.
    pub(super) async fn look(&self) -> Option<Arc<Look>> {
        let mut last = self.last.lock().await;
        if let Some((at, look)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return Some(look.clone());
        }
        let before = last.take().map(|(_, look)| look);
        let look = Arc::new(self.take(before.as_deref()).await?);
        *last = Some((Instant::now(), look.clone()));
        Some(look)
    }

    async fn take(&self, before: Option<&Look>) -> Option<Look> {
        let view = &self.view;
        let (sender, answer) = oneshot::channel();
        let asked =
            view.ask_control(move |control| drop(sender.send((control.status(), *control.metrics()))));
        let control = async {
            asked.ok()?;
            timeout(ANSWER_MAX, answer).await.ok()?.ok()
        };
        let ((cores, silent_cores), control) = tokio::join!(self.cores(before), control);
        let (status, control, control_age) = match control {
            Some((status, control)) => (status, control, None),
            None => {
                let picture = view.control_picture()?;
                (picture.status, picture.metrics, Some(picture.at.elapsed()))
            }
        };
        Some(Look { seen: Seen { status, control, cores }, control_age, silent_cores })
    }

    /// A picture of each core that ever gave one, and who does not answer.
    async fn cores(&self, before: Option<&Look>) -> (Vec<CoreSnapshot>, Vec<u16>) {
        let (sender, mut answers) = mpsc::unbounded_channel();
        let mut cores = self.view.try_ask_cores(move |snapshot| drop(sender.send(snapshot)));
        let end = tokio::time::Instant::now() + ANSWER_MAX;
        // The channel closes when the last core has answered or has ended.
        while let Ok(Some(snapshot)) = timeout_at(end, answers.recv()).await {
            cores.push(snapshot);
        }
        let has = |cores: &[CoreSnapshot], number| cores.iter().any(|core| core.core == number);
        let silent: Vec<u16> = (0..self.view.core_count()).filter(|&number| !has(&cores, number)).collect();
        let before = before.map_or(&[][..], |look| &look.seen.cores);
        cores.extend(before.iter().filter(|core| silent.contains(&core.core)).cloned());
        cores.sort_by_key(|core| core.core);
        (cores, silent)
    }
}
