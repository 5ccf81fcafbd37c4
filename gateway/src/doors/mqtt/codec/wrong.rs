//! Why a packet of a client is refused: the connection is closed then.

use super::reason::Code;

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It cannot be read.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// It can be read, but not be meant.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// It is larger than the door takes.
    #[error("the packet is larger than this server takes")]
    TooLarge,
    /// The client speaks neither MQTT 5 nor 3.1.1.
    #[error("this server speaks MQTT 5 and 3.1.1")]
    Version,
    /// It wants QoS 2.
    #[error("this server has QoS 0 and 1: publish with QoS 1")]
    Qos,
}

impl Wrong {
    /// The reason code that the client is told.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Malformed(_) => Code::MALFORMED,
            Self::Protocol(_) => Code::PROTOCOL,
            Self::TooLarge => Code::TOO_LARGE,
            Self::Version => Code::VERSION,
            Self::Qos => Code::QOS,
        }
    }
}
