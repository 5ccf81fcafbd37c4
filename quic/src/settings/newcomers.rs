//! What those who are not connected yet may take, and what one network may take of a core.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// How long handshakes last, and how many connections come from one address prefix: one IPv4
/// address, or one IPv6 /64, which is what a host on the Internet has.
///
/// Whoever exceeds a bound is refused (CONNECTION_REFUSED) once it has proven its address. From
/// half of a bound on, newcomers of that prefix prove their address first (Retry), so forged
/// senders cannot use up the share of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewcomerLimits {
    /// A handshake that takes longer is ended, also one whose client sends meanwhile. 1 s to 60 s;
    /// default 10 s, because clients give up after about five.
    pub handshake_timeout: Duration,
    /// Connections of one prefix on one core that wait for their handshake or are in it. At least
    /// 2; default 1,024, which a core serves in about half a second.
    pub handshakes_per_prefix: u32,
    /// Connections of one prefix on one core, handshakes included. At least 2; default 65,536, a
    /// quarter of what a core takes, so that one address cannot take all of it.
    pub connections_per_prefix: u32,
    /// Networks whose members are not counted by prefix, e.g. of a proxy or a load generator.
    /// Default: loopback.
    pub unbounded: Vec<AddressBlock>,
}

impl Default for NewcomerLimits {
    fn default() -> Self {
        let loopback = [(IpAddr::from([127, 0, 0, 0]), 8), (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]), 128)];
        Self {
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_prefix: 1_024,
            connections_per_prefix: 65_536,
            unbounded: loopback.map(|(address, bits)| AddressBlock { address, bits }).into(),
        }
    }
}

impl NewcomerLimits {
    /// The name of the first setting that is out of its range.
    pub(super) fn out_of_range(&self) -> Option<&'static str> {
        let timeouts = Duration::from_secs(1)..=Duration::from_secs(60);
        match self {
            s if !timeouts.contains(&s.handshake_timeout) => Some("handshake_timeout"),
            s if s.handshakes_per_prefix < 2 => Some("handshakes_per_prefix"),
            s if s.connections_per_prefix < 2 => Some("connections_per_prefix"),
            _ => None,
        }
    }
}

/// A network: an address and the number of its leading bits that count, written `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressBlock {
    address: IpAddr,
    bits: u8,
}

/// Text that is no network.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no network: write an address and its bits, e.g. 192.0.2.0/24 or 2001:db8::/32")]
pub struct AddressBlockError(String);

impl AddressBlock {
    /// Whether an address is in the network. An IPv4 address that is mapped into IPv6 is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                (network.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits);
                (network.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for AddressBlock {
    type Err = AddressBlockError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressBlockError(text.to_owned());
        let (address, bits) = text.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let bits: u8 = bits.parse().map_err(|_| error())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        if bits > bits_max { Err(error()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_contains_what_shares_its_leading_bits() {
        let check = |block: &str, address: &str, is_in: bool| {
            let parsed: AddressBlock = block.parse().unwrap();
            assert_eq!(parsed.to_string(), block);
            assert_eq!(parsed.contains(address.parse().unwrap()), is_in, "{address} in {block}");
        };
        check("10.1.0.0/16", "10.1.255.7", true);
        check("10.1.0.0/16", "::ffff:10.1.0.9", true);
        check("10.1.0.0/16", "10.2.0.1", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:9::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::1/128", "::1", true);
        check("::1/128", "::2", false);
    }

    #[test]
    fn text_that_is_no_network_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "host/8", "10.0.0.0/-1"] {
            assert!(text.parse::<AddressBlock>().is_err(), "{text}");
        }
    }
}
