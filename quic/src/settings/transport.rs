//! Transport settings of one kind of connection.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::CubicConfig;
use quinn_proto::{AckFrequencyConfig, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::SettingsError;

/// Payload of a jumbo frame of 9,000 bytes, less IPv6 and UDP headers. Loopback takes more, but a
/// lost datagram costs as much as it holds.
const JUMBO_PAYLOAD_BYTES: u16 = 8_952;
/// IPv6 and UDP headers.
const HEADER_BYTES: u16 = 48;
/// Jumbo packets received before an acknowledgement, so that one follows each 18 KB.
const JUMBO_ACK_THRESHOLD: u32 = 1;
/// Congestion window that jumbo paths start with: more than what is received before an
/// acknowledgement, or its delay would be waited for in each round; and no more than half of what a
/// router lets a receiver's stream run ahead on a path that it does not know.
const JUMBO_INITIAL_WINDOW_BYTES: u64 = 24 << 10;

/// How connections of one kind behave. Windows are limits, not allocations: memory is taken as data
/// comes.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportSettings {
    /// A connection without a sign of life for this long is over; the smaller value of both sides
    /// counts.
    pub idle_timeout: Duration,
    /// Sends a ping after this much silence; `None` leaves that to the other side.
    pub keep_alive: Option<Duration>,
    /// Unidirectional streams that the remote may have open. Keep it small: a slot is reserved for
    /// each.
    pub uni_streams: u32,
    /// Bidirectional streams that the remote may have open. Keep it small: a slot is reserved for
    /// each.
    pub bidi_streams: u32,
    /// Bytes that the remote may send ahead of our reader on one stream.
    pub stream_receive_window_bytes: u32,
    /// Bytes that the remote may send ahead of our readers on all streams together. Keep it at 2.25
    /// MiB or below towards clients: more than 1,024 separate gaps close a connection, and as much
    /// in packets of 1,200 bytes cannot have so many.
    pub receive_window_bytes: u32,
    /// Bytes that we hold for the remote, unsent and unacknowledged; writes are short beyond it.
    pub send_window_bytes: u64,
    /// Packets that the remote may receive before it acknowledges (RFC draft ack-frequency). `None`
    /// leaves every second.
    pub ack_threshold: Option<u32>,
    /// The longest that we ask the remote to hold an acknowledgement back.
    pub ack_delay_max: Option<Duration>,
    /// Congestion window to start with in bytes; `None` is quinn's (about 14 KiB).
    pub initial_window_bytes: Option<u64>,
    /// Round-trip time to assume before there is one.
    pub initial_rtt: Duration,
    /// UDP payload size in bytes that every path must take.
    pub initial_mtu: u16,
    /// The UDP payload that discovery tries first, and the largest; `None` switches discovery off.
    /// A path that takes less is tried once more, in the middle.
    pub mtu_upper_bound: Option<u16>,
    /// The same where the first hop takes packets of that size: loopback, and networks with jumbo
    /// frames. `None` makes no difference between hops.
    pub jumbo_upper_bound: Option<u16>,
    /// Whether streams of one connection take turns packet by packet. Off makes fewer and fuller
    /// frames.
    pub send_fairness: bool,
    /// Bytes of handshake messages to hold while they arrive out of order.
    pub crypto_buffer_bytes: usize,
}

impl TransportSettings {
    /// What a router uses towards its clients, publishers and receivers alike.
    pub fn client_facing() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            uni_streams: 4,
            bidi_streams: 4,
            stream_receive_window_bytes: 1 << 20,
            receive_window_bytes: (2 << 20) + (256 << 10),
            send_window_bytes: 4 << 20,
            ack_threshold: Some(10),
            // A busy stream is acknowledged by the threshold, which the initial window exceeds.
            // What is sent now and then waits for the delay, and probes follow where a busy host is
            // later than that.
            ack_delay_max: Some(Duration::from_millis(25)),
            initial_window_bytes: None,
            initial_rtt: Duration::from_millis(100),
            initial_mtu: 1200,
            mtu_upper_bound: Some(1452),
            jumbo_upper_bound: Some(JUMBO_PAYLOAD_BYTES),
            send_fairness: false,
            crypto_buffer_bytes: 16 << 10,
        }
    }

    /// The client's side of many connections that each send a packet now and then: few slots, no
    /// discovery, and every packet acknowledged at once, which spares the router a timer and a
    /// turn, and this side probes where the router is busy. The router's side keeps
    /// [`Self::client_facing`].
    pub fn lone_emitters() -> Self {
        Self {
            uni_streams: 1,
            bidi_streams: 1,
            stream_receive_window_bytes: 64 << 10,
            receive_window_bytes: 128 << 10,
            send_window_bytes: 256 << 10,
            keep_alive: Some(Duration::from_secs(10)),
            mtu_upper_bound: None,
            jumbo_upper_bound: None,
            ack_threshold: Some(0),
            ..Self::client_facing()
        }
    }

    /// Between routers.
    pub fn lane() -> Self {
        Self {
            keep_alive: Some(Duration::from_secs(5)),
            uni_streams: 16,
            bidi_streams: 4,
            stream_receive_window_bytes: 8 << 20,
            receive_window_bytes: 16 << 20,
            send_window_bytes: 16 << 20,
            ack_delay_max: Some(Duration::from_millis(2)),
            initial_window_bytes: Some(64 << 10),
            ..Self::client_facing()
        }
    }

    /// # Errors
    /// The first setting that is out of its range.
    pub(crate) fn build(&self) -> Result<Arc<TransportConfig>, SettingsError> {
        let out = |name| SettingsError::OutOfRange { name };
        let mut config = TransportConfig::default();
        config
            .max_idle_timeout(Some(self.idle_timeout.try_into().map_err(|_| out("idle_timeout"))?))
            .keep_alive_interval(self.keep_alive)
            .max_concurrent_uni_streams(VarInt::from_u32(self.uni_streams))
            .max_concurrent_bidi_streams(VarInt::from_u32(self.bidi_streams))
            .stream_receive_window(VarInt::from_u32(self.stream_receive_window_bytes))
            .receive_window(VarInt::from_u32(self.receive_window_bytes))
            .send_window(self.send_window_bytes)
            .send_fairness(self.send_fairness)
            .initial_rtt(self.initial_rtt)
            .crypto_buffer_size(self.crypto_buffer_bytes)
            // Datagram frames are not used; without a receive buffer the remote may not send any.
            .datagram_receive_buffer_size(None);
        if !(1200..=65_487).contains(&self.initial_mtu) {
            return Err(out("initial_mtu"));
        }
        config.initial_mtu(self.initial_mtu);
        config.mtu_discovery_config(self.mtu_upper_bound.map(|bound| {
            let mut discovery = MtuDiscoveryConfig::default();
            // Differences below more than half of the range are not worth another probe: so quinn
            // begins with the bound itself and, where the path has it, ends there.
            discovery.upper_bound(bound);
            discovery.minimum_change(bound.saturating_sub(self.initial_mtu) / 2 + 1);
            discovery
        }));
        if let Some(bytes) = self.initial_window_bytes {
            let mut cubic = CubicConfig::default();
            cubic.initial_window(bytes);
            config.congestion_controller_factory(Arc::new(cubic));
        }
        if self.ack_threshold.is_some() || self.ack_delay_max.is_some() {
            let mut acks = AckFrequencyConfig::default();
            acks.ack_eliciting_threshold(VarInt::from_u32(self.ack_threshold.unwrap_or(1)));
            acks.max_ack_delay(self.ack_delay_max);
            config.ack_frequency_config(Some(acks));
        }
        Ok(Arc::new(config))
    }

    /// These where the first hop takes jumbo frames, and the size in bytes of the IP packets that
    /// it must take. `None` when they would be the same.
    pub(crate) fn jumbo(&self) -> Option<(usize, Self)> {
        let bound = self
            .jumbo_upper_bound
            .filter(|bound| self.mtu_upper_bound.is_some_and(|usual| *bound > usual))?;
        let jumbo = Self {
            mtu_upper_bound: Some(bound),
            ack_threshold: self.ack_threshold.map(|packets| packets.min(JUMBO_ACK_THRESHOLD)),
            initial_window_bytes: self.initial_window_bytes.max(Some(JUMBO_INITIAL_WINDOW_BYTES)),
            ..self.clone()
        };
        Some((usize::from(bound.saturating_add(HEADER_BYTES)), jumbo))
    }
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self::client_facing()
    }
}
