//! What the threads of a fleet share: the run's clock, its orders, and the way back for reports.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::clock::Epochs;
use super::judged::Judged;
use super::order::Orders;

/// What all threads share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) clock: Epochs,
    pub(super) orders: Arc<Orders>,
    pub(super) reports: Sender<Report>,
}

/// What a thread says.
#[derive(Debug)]
pub(super) enum Report {
    Published(Vec<(u32, u64)>),
    Judged(Box<Judged>),
    Lost(String),
}
