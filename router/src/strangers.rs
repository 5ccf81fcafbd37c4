//! Processes that answer at a seed and are no router of this cluster: what is wrong, the cure, and
//! how often the log says it.
//!
//! One certificate authority vouches for a cluster, so that another cluster shows by its
//! certificates. Every meeting is counted. The log names each address once in a while, because
//! control dials it for ever: the operator may be about to replace its certificate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use millrace_proto::CloseCode;
use millrace_quic::CloseReason;

/// Time between two lines about one address.
const SAID_FOR: Duration = Duration::from_secs(60);
/// Most addresses that are remembered: more than a mesh has routers. Others are not logged until
/// there is room.
const ADDRESSES_MAX: usize = 256;

/// Alerts of TLS as QUIC codes (RFC 9001, section 4.8; RFC 8446, section 6).
mod alert {
    pub(super) const BAD_CERTIFICATE: u64 = 0x12a;
    pub(super) const CERTIFICATE_EXPIRED: u64 = 0x12d;
    pub(super) const CERTIFICATE_UNKNOWN: u64 = 0x12e;
    pub(super) const UNKNOWN_AUTHORITY: u64 = 0x130;
    pub(super) const ACCESS_DENIED: u64 = 0x131;
    pub(super) const DECRYPT_ERROR: u64 = 0x133;
    pub(super) const NO_PROTOCOL: u64 = 0x178;
}

/// A process that answered a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Its certificate is another authority's.
    OtherAuthority,
    /// Its certificate is our authority's, and is not valid.
    BadCertificate,
    /// Its certificate is our authority's, but not a router's.
    NoRouter,
    /// It does not trust our certificate.
    Distrusting,
    /// It speaks QUIC, but not this protocol.
    OtherProtocol,
}

impl Stranger {
    /// Whether a dial ended because a stranger answered.
    pub(crate) fn of(reason: &CloseReason) -> Option<Self> {
        match *reason {
            CloseReason::Protocol { code: alert::UNKNOWN_AUTHORITY | alert::DECRYPT_ERROR, .. } => {
                Some(Self::OtherAuthority)
            }
            CloseReason::Protocol { code: alert::ACCESS_DENIED, .. } => Some(Self::NoRouter),
            CloseReason::Protocol { code: alert::NO_PROTOCOL, .. }
            | CloseReason::Remote { code: alert::NO_PROTOCOL, .. } => Some(Self::OtherProtocol),
            CloseReason::Protocol {
                code: alert::BAD_CERTIFICATE | alert::CERTIFICATE_EXPIRED | alert::CERTIFICATE_UNKNOWN,
                ..
            } => Some(Self::BadCertificate),
            CloseReason::Remote { code: alert::BAD_CERTIFICATE..=alert::DECRYPT_ERROR, .. } => {
                Some(Self::Distrusting)
            }
            CloseReason::Application { code, .. } if code == CloseCode::Forbidden.code() => {
                Some(Self::Distrusting)
            }
            _ => None,
        }
    }

    /// The trouble in words, with the cure.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::OtherAuthority => {
                "its certificate is of another authority: it is a router of another cluster, or one of the two was \
                 started with the wrong authority; take the address out of mesh.seeds, or give both the same tls.ca \
                 (in development mode: the same user and the same XDG_RUNTIME_DIR)"
            }
            Self::BadCertificate => {
                "its certificate is not valid: look at its dates, and at the clocks of both hosts"
            }
            Self::NoRouter => {
                "its certificate is not a router's: give it one with the name millrace://router/NAME, or take the \
                 address out of mesh.seeds"
            }
            Self::Distrusting => {
                "it does not believe this router's certificate: both need certificates of one authority with the \
                 name millrace://router/NAME; compare tls.ca and tls.cert of both"
            }
            Self::OtherProtocol => {
                "it speaks QUIC and is no router of this version: take the address out of mesh.seeds"
            }
        }
    }
}

/// When each address was last logged, and how often it has answered since.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    said: BTreeMap<SocketAddr, Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    since: u64,
}

impl Strangers {
    /// Counts a stranger at an address. Returns the count since the last line, if the next one is
    /// due.
    pub(crate) fn met(&mut self, now: Instant, remote: SocketAddr) -> Option<u64> {
        if let Some(said) = self.said.get_mut(&remote) {
            said.since += 1;
            if now.duration_since(said.at) < SAID_FOR {
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.since));
        }
        if self.said.len() == ADDRESSES_MAX {
            self.said.retain(|_, said| now.duration_since(said.at) < SAID_FOR);
        }
        if self.said.len() == ADDRESSES_MAX {
            return None;
        }
        self.said.insert(remote, Said { at: now, since: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn each_address_is_said_once_in_a_while_with_how_often_it_answered() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        assert_eq!(strangers.met(start, address(1)), Some(1));
        assert_eq!(strangers.met(start + SAID_FOR / 2, address(1)), None);
        assert_eq!(strangers.met(start + SAID_FOR / 2, address(2)), Some(1));
        assert_eq!(strangers.met(start + SAID_FOR, address(1)), Some(2));
        assert_eq!(strangers.met(start + SAID_FOR, address(2)), None);
    }

    #[test]
    fn addresses_beyond_the_bound_wait_for_room() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        for port in 0..u16::try_from(ADDRESSES_MAX).unwrap() {
            assert_eq!(strangers.met(start, address(port)), Some(1));
        }
        assert_eq!(strangers.met(start, address(9999)), None);
        assert_eq!(strangers.met(start + SAID_FOR, address(9999)), Some(1));
        assert_eq!(strangers.said.len(), 1);
    }
}
