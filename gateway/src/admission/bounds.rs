//! What a client may take before anybody knows who it is.

use std::time::Duration;

/// Bytes that a client may send before it has an identity.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Time that a client has until it has an identity.
pub const HEAD_MAX: Duration = Duration::from_secs(5);
/// Clients of one door that have no identity yet: 512 MiB at most, while each may send 64 KiB.
pub(super) const WAITING_MAX: usize = 8192;
/// Those of them that come from one IPv4 address, or one IPv6 /64: 128 MiB at most.
pub(super) const WAITING_PER_NETWORK_MAX: usize = 2048;
/// Connections of one door: tens of thousands of clients, within the descriptors that a service
/// manager usually allows.
pub const CONNECTIONS_MAX: usize = 50_000;
/// After an error of accepting, which mostly is a want of descriptors, the next try waits for this
/// time.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
