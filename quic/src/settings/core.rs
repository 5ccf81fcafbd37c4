//! Settings of one core's loop.

use std::time::Duration;

use super::SettingsError;
use crate::CidShape;

/// Settings of one core's loop.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// Number of this core within its router, below `cores`. Default 0.
    pub core: u16,
    /// Cores of the router, 1..=4096: the connection ids that a core issues are its number modulo
    /// this. Default 1.
    pub cores: u16,
    /// How the connection ids look that this core issues: the same for all cores of the router, and
    /// what [`crate::steer::bind_group_of`] was told.
    pub cids: CidShape,
    /// How long one turn may work before it starts over with receiving. Default 500 µs. Longer
    /// turns batch better and let everything that is waiting wait longer.
    pub turn_budget: Duration,
    /// The part of a turn that receiving may take. Default 150 µs.
    pub receive_budget: Duration,
    /// Segments that one connection may send in a row before the next one's turn (GSO), 1..=64.
    /// Default 45, about the 64 KiB that the kernel takes at once. Lower where bursts get policed.
    pub gso_segments: usize,
    /// Handshakes begun per turn: each costs about 250 µs of signing. Default 1.
    pub handshakes_per_turn: usize,
    /// Stateless answers (reset, version negotiation) per second, with as many at once. Default
    /// 20,000: a restarted router tells 100,000 clients within 5 s. Answers are smaller than what
    /// provoked them.
    pub answers_per_second: u32,
    /// Connections of this core at once, in both directions and including those that are closing.
    /// Default 262,144; an idle one takes about 20 KB. Newcomers beyond it are refused.
    pub connections_max: usize,
    /// How long the loop polls before it sleeps, while its last rests were short. Default 0: it
    /// sleeps at once. Polling takes the whole processor and saves the time of a wake-up.
    pub spin: Duration,
    /// Bytes asked for as each socket's kernel buffers, both ways. Default 8 MiB; see
    /// [`crate::Core::socket_buffers`] for what was granted.
    pub socket_buffer_bytes: usize,
}

impl Default for CoreSettings {
    fn default() -> Self {
        Self {
            core: 0,
            cores: 1,
            cids: CidShape::default(),
            turn_budget: Duration::from_micros(500),
            receive_budget: Duration::from_micros(150),
            gso_segments: 45,
            handshakes_per_turn: 1,
            answers_per_second: 20_000,
            connections_max: 1 << 18,
            spin: Duration::ZERO,
            socket_buffer_bytes: 8 << 20,
        }
    }
}

impl CoreSettings {
    /// # Errors
    /// The first setting that is out of its range.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let out = |name| Err(SettingsError::OutOfRange { name });
        match self {
            s if s.cores == 0 || s.cores > 4096 => out("cores"),
            s if s.core >= s.cores => out("core"),
            s if s.gso_segments == 0 || s.gso_segments > 64 => out("gso_segments"),
            s if s.handshakes_per_turn == 0 => out("handshakes_per_turn"),
            _ => Ok(()),
        }
    }
}
