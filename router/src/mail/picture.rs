//! The place where control leaves a picture of itself, for readers to whom it is too busy to
//! answer.

use std::sync::{Arc, Mutex};

use millrace_engine::control::{ControlMetrics, Status};

/// Control at one moment.
#[derive(Debug, Clone)]
pub(crate) struct ControlPicture {
    pub(crate) at: std::time::Instant,
    pub(crate) status: Status,
    pub(crate) metrics: ControlMetrics,
}

/// Where control leaves its last picture; `None` before the first.
pub(crate) type PictureFrame = Arc<Mutex<Option<ControlPicture>>>;
