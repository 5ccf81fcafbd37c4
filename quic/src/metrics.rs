//! Counters of one core. They only grow; a reader takes differences.

/// Datagrams given up, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// New connections ignored: the line of those who wait for their handshake was full, and the
    /// sender's address unproven.
    pub admission_full: u64,
    /// New connections ignored: they had waited for their handshake for so long that most have
    /// given up.
    pub admission_expired: u64,
    /// New connections refused: their address prefix had as many unfinished handshakes as it may.
    pub prefix_handshakes: u64,
    /// New connections refused: their address prefix had as many connections as it may.
    pub prefix_connections: u64,
    /// New connections that arrived on a socket that does not accept any.
    pub not_accepting: u64,
    /// Stateless answers (reset, version negotiation) over their budget.
    pub answer_budget: u64,
    /// Stateless answers while the socket was blocked.
    pub answer_blocked: u64,
    /// Segments of sibling cores that no one took.
    pub foreign: u64,
    /// Outgoing datagrams that the system refused for good.
    pub send_error: u64,
    /// Outgoing datagrams larger than the path allows; MTU discovery provokes these.
    pub too_large: u64,
    /// Outgoing datagrams of a socket that was removed.
    pub socket_gone: u64,
    /// Datagrams of connections that this core does not know, or that make no sense.
    pub unroutable: u64,
    /// Stream wake-ups beyond [`crate::Io::wake`]'s bound.
    pub wake_overflow: u64,
}

/// What one core has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that slept before they worked.
    pub sleeps: u64,
    /// Nanoseconds spent at work.
    pub busy_ns: u64,
    /// Nanoseconds spent polling for work before a sleep.
    pub spun_ns: u64,
    /// QUIC datagrams received.
    pub datagrams_in: u64,
    /// Bytes of UDP payload received.
    pub bytes_in: u64,
    /// Receive calls (`recvmmsg`).
    pub receive_calls: u64,
    /// QUIC datagrams handed to the kernel.
    pub datagrams_out: u64,
    /// Bytes of UDP payload handed to the kernel.
    pub bytes_out: u64,
    /// Send calls (`sendmmsg`).
    pub send_calls: u64,
    /// Times the kernel took no more datagrams of a socket for the moment (EAGAIN).
    pub send_blocked: u64,
    /// Errors that receive or send calls returned, other than EAGAIN.
    pub socket_errors: u64,
    /// Sockets on which segmentation offload was switched off after the system refused it.
    pub offload_disabled: u64,
    /// Incoming connections whose handshake was begun.
    pub handshakes_accepted: u64,
    /// Incoming connections that were asked to prove their address first (Retry).
    pub handshakes_retried: u64,
    /// Incoming connections that were told to go away.
    pub handshakes_refused: u64,
    /// Incoming connections that failed before they were connected.
    pub handshakes_failed: u64,
    /// Incoming connections ended because their handshake took too long; they count as failed, too.
    pub handshakes_expired: u64,
    /// Resumption tickets by which clients went on with an earlier session.
    pub resumptions_accepted: u64,
    /// Resumption tickets refused: the certificate that the session began with has ended, its
    /// authority is none of this router's, or the peer protocol was asked for. Such a client shows
    /// its certificate in a full handshake.
    pub resumptions_refused: u64,
    /// Packets that waited until those of connections in use were opened, because this core was
    /// behind.
    pub packets_set_aside: u64,
    /// Connections dialled.
    pub dials: u64,
    /// Connections that completed their handshake, in either direction.
    pub connected: u64,
    /// Connections whose end the app was told of.
    pub closed: u64,
    /// Connections whose memory was returned.
    pub freed: u64,
    /// Stateless answers sent.
    pub answers: u64,
    /// Segments that arrived here and belong to a sibling core.
    pub foreign_out: u64,
    /// Segments that a sibling core received for this one.
    pub foreign_in: u64,
    /// Packets that freed connections had declared lost; see [`crate::Core::packets_lost`] for the
    /// sum with live ones.
    pub packets_lost: u64,
    /// What was given up.
    pub drops: Drops,
}

impl Metrics {
    /// Adds what sockets count.
    pub(crate) fn add_sockets(&mut self, sockets: &Self) {
        self.receive_calls += sockets.receive_calls;
        self.datagrams_out += sockets.datagrams_out;
        self.bytes_out += sockets.bytes_out;
        self.send_calls += sockets.send_calls;
        self.send_blocked += sockets.send_blocked;
        self.socket_errors += sockets.socket_errors;
        self.offload_disabled += sockets.offload_disabled;
        self.drops.send_error += sockets.drops.send_error;
        self.drops.too_large += sockets.drops.too_large;
        self.drops.socket_gone += sockets.drops.socket_gone;
    }
}
