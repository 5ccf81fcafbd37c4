//! Prefetching: brings into the cache what the next runs will touch, before the first of them is
//! routed.
//!
//! Why: routing a run touches memory in many places (its route, its receivers, the tables of their
//! streams), and each of them costs some hundred cycles when it is not in the cache. A single run
//! waits for one after the other; the runs of a window wait for all of them together.
//!
//! The rule: the reader looks at the frames of up to 16 runs that have arrived ([`Window`]), and
//! this file reads a word of each place that they will touch, in steps: routes; then the receivers
//! that the routes name; then the names on the streams of siblings, peers and receivers. Each step
//! needs the result of the one before; within a step nothing waits. Prefetching changes nothing,
//! and leaves out what it cannot find: a run that is alone, a new tag set, a route that is not
//! resolved, receivers beyond [`RECEIVERS_MAX`].
//!
//! At the end of a turn the core does the same for streams that it writes
//! ([`Transport::prefetch`](crate::transport::Transport::prefetch)).

use millrace_proto::frame::WINDOW_FRAMES;

use super::entered::Scope;
use super::reader::{Coming, Window};
use super::state::Path;
use crate::matching::Location;

/// Most receivers that are prefetched together: enough for a window of runs with two receivers
/// each.
const RECEIVERS_MAX: usize = 32;

const _: () = assert!(WINDOW_FRAMES <= u16::BITS as usize, "each run of a window has a bit");

impl Path {
    /// Prefetches what the core reads to route these runs.
    pub(in crate::core) fn prefetch(&self, window: &Window, scope: Scope) {
        let runs = window.runs();
        // A bit for each run that a sibling routes, so that it has no route here.
        let mut others = 0_u16;
        for (index, run) in runs.iter().enumerate() {
            if scope == Scope::All
                && let Some(owner) = self.positions.shards.other_owner(run.hash)
            {
                others |= 1 << index;
                self.prefetch_names(Location::Core(owner), run);
            } else {
                self.routes.prefetch(run.tag);
            }
        }
        let mut receivers = [(0, 0); RECEIVERS_MAX];
        let mut len = 0;
        for (index, run) in runs.iter().enumerate() {
            if others >> index & 1 != 0 {
                continue;
            }
            let Some(route) = self.routes.resolved_last(run.tag) else { continue };
            if scope != Scope::Core {
                let unfiltered = route.takers().iter().filter(|taker| taker.filter().is_none());
                unfiltered.for_each(|taker| self.prefetch_names(taker.location(), run));
            }
            for target in route.local() {
                let Some(place) = receivers.get_mut(len) else { break };
                *place = (target.receiver, index);
                len += 1;
                self.receivers.prefetch(target.receiver);
            }
        }
        for &(slot, index) in &receivers[..len] {
            let Some(receiver) = self.receivers.get(slot) else { continue };
            let run = &runs[index];
            if let Some(stream) = self.receivers.stream_of(receiver) {
                stream.prefetch_names(&run.tag, self.routes.number_last(run.tag), &run.publisher);
            }
        }
    }

    fn prefetch_names(&self, location: Location, run: &Coming) {
        match location {
            Location::Core(core) => {
                if let Some(outlet) = self.locations.sibling(core) {
                    outlet.prefetch_names(&run.tag, &run.publisher);
                }
            }
            Location::Peer(peer) => {
                if let Some(lane) = self.locations.peer(peer) {
                    lane.outlet.prefetch_names(&run.tag, &run.publisher);
                }
            }
            Location::Forward(_) | Location::Member(_) => {}
        }
    }
}
