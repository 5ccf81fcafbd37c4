//! Notices for people, with the peer's name and address.

use super::machine::Control;
use super::notice::{Notice, Said};

impl Control {
    /// Queues a notice for people.
    pub(super) fn notify(&mut self, notice: Notice) {
        let peer = notice.router().and_then(|router| self.peers.get(&router));
        let peer = peer.map(|peer| (peer.name.clone(), peer.advertise.clone()));
        self.notices.take_in(self.now, notice, peer);
    }

    /// Takes the next notice; call until `None` after every input.
    pub fn poll_notice(&mut self) -> Option<Said> {
        self.notices.pop()
    }
}
