//! What a client has proven in its full handshake, as each of its tickets states it.

/// What a client has proven, as its tickets state it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// When the first certificate of its chain ends, seconds since 1970.
    pub(crate) end: u64,
    /// Hash of the authority that its chain leads to.
    pub(crate) issuer: [u8; 32],
}

impl Proof {
    /// The proof of a client that showed no certificate.
    pub(crate) const NONE: Self = Self { end: u64::MAX, issuer: [0; 32] };
}
