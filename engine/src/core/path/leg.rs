//! The last step of a run: into one receiver's queue.

use super::fate::Fates;
use crate::core::metrics::DropReason;
use crate::core::receiver::Receiver;
use crate::core::run::RunOut;

/// Pushes a run to a receiver, and counts what became of it and of those that gave way for it.
#[inline]
pub(super) fn push(receiver: &mut Receiver, run: &RunOut<'_>, fates: &mut Fates<'_>) {
    let Receiver { queue, outlet, dropped, .. } = receiver;
    let overflow = DropReason::ReceiverOverflow;
    let fate = queue.push(run, outlet, |older| {
        *dropped += older.events;
        fates.lost(older, overflow);
    });
    *dropped += fates.tell(fate, run, overflow);
}
