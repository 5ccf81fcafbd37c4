//! Sends packets of connections: one burst per connection and round.

use std::time::Instant;

use super::Driver;
use crate::network::Ecn;
use crate::{Network, Outgoing};

/// Payload bytes that one burst of segments may have: 64 KiB less IPv6 and UDP headers.
const BURST_BYTES: usize = 65_487;

/// Payload of the datagrams that [`crate::CoreSettings::gso_segments`] counts.
const USUAL_SEGMENT_BYTES: usize = 1_452;

impl Driver {
    /// Sends one burst of one connection in use; `false` when none has packets. A connection with
    /// more packets goes to the end of the line; one whose socket is blocked waits for
    /// [`Driver::unpark`].
    pub fn transmit_next(&mut self, now: Instant, net: &mut dyn Network) -> bool {
        let Some(index) = self.transmit.next() else { return false };
        self.transmit(index, now, net);
        true
    }

    /// The same for one connection that begins or ends.
    pub fn transmit_aside(&mut self, now: Instant, net: &mut dyn Network) -> bool {
        let Some(index) = self.transmit.next_aside() else { return false };
        self.transmit(index, now, net);
        true
    }

    fn transmit(&mut self, index: u32, now: Instant, net: &mut dyn Network) {
        let Some(live) = self.slots.get(index) else { return };
        if net.is_blocked(live.socket) {
            self.parked.push(index);
            return;
        }
        live.in_transmit = false;
        let mtu = usize::from(live.conn.current_mtu()).max(1);
        let segments_max = net.segments_max(live.socket).min(BURST_BYTES / mtu).max(1);
        // Segments of jumbo frames count for as many as they hold.
        let mut left = (self.gso_segments * USUAL_SEGMENT_BYTES / mtu.max(USUAL_SEGMENT_BYTES)).max(1);
        let mut more = true;
        // Without offload a burst takes several polls. A burst that was cut short is usually the
        // last, so that the next poll follows at once.
        while more && left > 0 {
            self.scratch.clear();
            let segments = left.min(segments_max);
            let Some(transmit) = live.conn.poll_transmit(now, segments, &mut self.scratch) else {
                more = false;
                break;
            };
            left -= transmit.segment_size.map_or(1, |size| transmit.size.div_ceil(size.max(1))).min(left);
            let outgoing = Outgoing {
                socket: live.socket,
                destination: transmit.destination,
                source_ip: transmit.src_ip,
                ecn: transmit.ecn.map(Ecn::from_proto),
                segment_size: transmit.segment_size.and_then(|size| u16::try_from(size).ok()),
            };
            net.send(outgoing, &mut self.scratch);
        }
        if more {
            self.mark_transmit(index);
        } else if let Some(at) = live.conn.poll_timeout() {
            self.timers.arm(index, at);
        }
        self.forward_endpoint_events(index);
        if self.slots.get(index).is_some_and(|live| live.drained) {
            self.mark_events(index);
        }
    }

    /// Lets parked connections transmit again; those whose socket is still blocked park again.
    pub fn unpark(&mut self) {
        for index in self.parked.drain(..) {
            let is_aside = self.slots.get(index).is_some_and(|live| live.is_aside());
            self.transmit.join(index, is_aside);
        }
    }
}
