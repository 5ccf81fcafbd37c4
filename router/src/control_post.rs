//! The cores' way to control: bounded in messages and, because interest and lane frames can be large, in bytes.

use std::mem::size_of;

use millrace_engine::message::{CoreIndex, ToControl};
use millrace_proto::mesh::{InterestEntry, KnownPeer, MeshFrame};
use tokio::sync::mpsc;

use crate::budget::Budget;
use crate::control_thread::Input;

/// Bytes of messages that may wait for control, over all cores. What does not fit waits in the cores.
const BYTES_MAX: usize = 64 << 20;

/// One core's end of control's mailbox.
#[derive(Clone)]
pub(crate) struct ControlPost {
    inputs: mpsc::Sender<Input>,
    budget: Budget,
}

/// Room for one message.
pub(crate) struct Place<'a> {
    permit: mpsc::Permit<'a, Input>,
    budget: &'a Budget,
}

impl ControlPost {
    pub(crate) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, budget: Budget::new(BYTES_MAX) }
    }

    /// Room for the next message, if there is some.
    pub(crate) fn reserve(&self) -> Option<Place<'_>> {
        let permit = self.inputs.try_reserve().ok().filter(|_| self.budget.has_room())?;
        Some(Place { permit, budget: &self.budget })
    }
}

impl Place<'_> {
    pub(crate) fn send(self, core: CoreIndex, message: ToControl) {
        let share = self.budget.take(weight(&message));
        self.permit.send(Input::Core { core, message, share });
    }
}

/// Memory of a message, roughly.
fn weight(message: &ToControl) -> usize {
    let own = match message {
        // The selectors are shared with the core, which may have dropped them by then.
        ToControl::Interest { add, remove, .. } => {
            add.iter().chain(remove).map(|selector| 64 + 2 * selector.text().len()).sum()
        }
        ToControl::LaneFrame { frame: MeshFrame::Interest(interest), .. } => {
            let entries: usize =
                interest.add.iter().map(|entry| size_of::<InterestEntry>() + entry.selector.len()).sum();
            entries + 8 * interest.remove.len()
        }
        ToControl::LaneFrame { frame: MeshFrame::Peers(peers), .. } => {
            peers.peers.iter().map(|peer| size_of::<KnownPeer>() + peer.advertise.len()).sum()
        }
        ToControl::LaneFrame { frame: MeshFrame::InterestAck(ack), .. } => 8 * ack.positions.len(),
        _ => 0,
    };
    own + size_of::<Input>()
}

#[cfg(test)]
mod tests {
    use millrace_engine::transport::ConnKey;
    use millrace_proto::mesh::Interest;

    use super::*;

    fn large() -> ToControl {
        let entry = InterestEntry { selector: "x".repeat(BYTES_MAX / 2), ..InterestEntry::default() };
        let interest = Interest { add: vec![entry], ..Interest::default() };
        ToControl::LaneFrame { conn: ConnKey(1), frame: MeshFrame::Interest(interest) }
    }

    #[test]
    fn few_large_messages_fill_the_mailbox_until_they_are_taken() {
        let (inputs, mut inbox) = mpsc::channel(16);
        let (post, other) = (ControlPost::new(inputs.clone()), ControlPost::new(inputs));
        let post_of_another_core = post.clone();
        post.reserve().unwrap().send(0, large());
        post_of_another_core.reserve().unwrap().send(1, large());
        assert!(post.reserve().is_none() && post_of_another_core.reserve().is_none());
        assert!(other.reserve().is_some(), "each router has its own budget");
        drop(inbox.try_recv().unwrap());
        assert!(post.reserve().is_some());
    }
}
