//! How the two protocols are named, versioned and reached.

/// ALPN name of the protocol between clients and routers.
pub const ALPN_CLIENT: &[u8] = b"millrace/1";
/// ALPN name of the protocol between routers.
pub const ALPN_PEER: &[u8] = b"millrace-peer/1";
/// Version of both protocols. A Hello with another major version is refused with
/// [`CloseCode::Version`](crate::CloseCode::Version).
pub const PROTOCOL_VERSION: u64 = 1;
/// Default UDP port of a router, for clients and peers.
pub const DEFAULT_PORT: u16 = 7400;
