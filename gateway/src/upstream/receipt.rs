//! What a member of a group says about an event that it was given.

use tokio::sync::oneshot;

/// Says that a reader has done what it had to do with an event of its group. One that is dropped
/// says that it has not: another member gets the event.
#[derive(Debug)]
pub struct Receipt(oneshot::Sender<()>);

/// Waits for a [`Receipt`].
pub(super) type Awaited = oneshot::Receiver<()>;

impl Receipt {
    /// A receipt, and what waits for it.
    pub(super) fn new() -> (Self, Awaited) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// The event is done.
    pub fn done(self) {
        // The member may have gone: the event is another one's then.
        let _ = self.0.send(());
    }
}
