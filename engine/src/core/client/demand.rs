//! Tells who forwards from another cluster what is let in, and what is wanted.

use millrace_proto::control::Demand;

use super::session::ClientSession;
use crate::core::turn::Turn;
use crate::forward::ClusterDemand;

/// Bytes of selectors in one frame, about.
const FRAME_BYTES: usize = 16 * 1024;

impl ClientSession {
    /// Tells the whole demand, in place of what was told before, if the client forwards.
    pub(in crate::core) fn tell_demand(&mut self, turn: &mut Turn<'_>, demand: &ClusterDemand) {
        let rights = &self.who.rights;
        if !self.said_hello() || !rights.forwards() {
            return;
        }
        let allowed = rights.grant.publish.as_deref();
        let accept: Vec<String> = allowed
            .map(|allowed| allowed.selectors().iter().map(|selector| selector.text().to_owned()).collect())
            .unwrap_or_default();
        let version = demand.version;
        let mut frame = Demand { version, reset: true, more: true, ..Demand::default() };
        let mut bytes = 0;
        for (selector, is_of_links) in demand.wanted_from(rights.from) {
            bytes += selector.len();
            frame.add.push(selector.to_owned());
            if is_of_links {
                bytes += selector.len();
                frame.links.push(selector.to_owned());
            }
            if bytes >= FRAME_BYTES {
                frame.encode(&mut self.control.out);
                (frame.reset, bytes) = (false, 0);
                frame.add.clear();
                frame.links.clear();
            }
        }
        Demand { more: false, accept, ..frame }.encode(&mut self.control.out);
        self.mark(turn);
    }
}
