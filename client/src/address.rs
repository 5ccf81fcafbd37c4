//! Addresses of routers as people write them: `host`, `host:port`, `[v6]:port`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use millrace_proto::DEFAULT_PORT;

/// A router's address: a DNS name (all its A and AAAA records are tried) or an IP address, and a
/// UDP port. An IPv6 address may have a zone, as in `[fe80::1%eth0]:7400`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouterAddress {
    host: String,
    port: u16,
}

/// Text that is not a router's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a router's address: {cure}")]
pub struct AddressError {
    text: String,
    /// What to write instead.
    cure: String,
}

impl RouterAddress {
    /// The name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The name to expect in the router's certificate: the host without a zone or a dot at its end.
    #[must_use]
    pub fn server_name(&self) -> &str {
        let host = self.host.split_once('%').map_or(self.host.as_str(), |(ip, _)| ip);
        host.strip_suffix('.').unwrap_or(host)
    }

    /// Where it is, when no name has to be looked up. A zone means something for link-local
    /// addresses only: a number is used as it is, the name of an interface is looked up by the
    /// system.
    pub(crate) fn socket_address(&self) -> Option<SocketAddr> {
        let Some((ip, zone)) = self.host.split_once('%') else {
            return self.host.parse().ok().map(|ip| SocketAddr::new(ip, self.port));
        };
        let ip: Ipv6Addr = ip.parse().ok()?;
        let scope = if ip.is_unicast_link_local() { zone.parse().ok()? } else { 0 };
        Some(SocketAddrV6::new(ip, self.port, 0, scope).into())
    }

    /// Whether it can only be on this host.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.server_name();
        host.parse::<IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback())
    }
}

impl Default for RouterAddress {
    /// `127.0.0.1:7400`, where a router in dev mode listens.
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT }
    }
}

impl FromStr for RouterAddress {
    type Err = AddressError;

    /// Reads an address; the port is 7400 when there is none. IPv6 that may end with a port is
    /// refused without brackets.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = |cure| AddressError { text: text.chars().take(200).collect(), cure };
        let wrong = || error("write HOST, HOST:PORT or [IPV6]:PORT".to_owned());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            ipv6(host).ok_or_else(wrong)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) })
        } else if text.matches(':').count() > 1 {
            if let Some(cure) = with_brackets(text) {
                return Err(error(cure));
            }
            ipv6(text).ok_or_else(wrong)?;
            (text, None)
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let port = port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| wrong()))?;
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/@[]".contains(&byte);
        if host.is_empty() || port == 0 || !host.bytes().all(plain) {
            return Err(wrong());
        }
        // An IPv4 address in the clothes of IPv6 is what certificates name: the one inside.
        if let Some(ip) = host.parse::<Ipv6Addr>().ok().and_then(|ip| ip.to_ipv4_mapped()) {
            return Ok(Self { host: ip.to_string(), port });
        }
        // Names are alike in either case; zones are names of interfaces, which are not.
        let host = if host.contains(':') { host.to_owned() } else { host.to_ascii_lowercase() };
        Ok(Self { host, port })
    }
}

/// An IPv6 address, with a zone or without (RFC 4007: `fe80::1%eth0`).
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let is_zone = |zone: &str| !zone.is_empty() && !zone.contains(['%', ':']);
    ip.parse().ok().filter(|_| zone.is_none_or(is_zone))
}

/// What to write for IPv6 without brackets that ends with a port, or with four or five digits,
/// which may be one.
fn with_brackets(text: &str) -> Option<String> {
    let (front, last) = text.rsplit_once(':')?;
    let (is_whole, is_digits) = (ipv6(text).is_some(), last.bytes().all(|byte| byte.is_ascii_digit()));
    let may_be_port = !last.is_empty() && is_digits && (last.len() >= 4 || !is_whole);
    ipv6(front).filter(|_| may_be_port)?;
    let whole = if is_whole { format!(", or [{text}]:{DEFAULT_PORT}") } else { String::new() };
    Some(format!("IPv6 has brackets before a port: write [{front}]:{last}{whole}"))
}

impl fmt::Display for RouterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_count_for_link_local_addresses_only() {
        for (text, address) in [
            ("[::1%lo]:5", Some("[::1]:5")),
            ("[fe80::1%3]:5", Some("[fe80::1%3]:5")),
            ("[fe80::1%eth0]:5", None),
            ("router.example:5", None),
            ("10.0.0.1:5", Some("10.0.0.1:5")),
        ] {
            let found = text.parse::<RouterAddress>().unwrap().socket_address();
            assert_eq!(found, address.map(|address| address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn ipv6_that_may_end_with_a_port_is_refused_with_its_brackets() {
        for (text, cures) in [
            ("::1:7400", "write [::1]:7400, or [::1:7400]:7400"),
            ("2001:db8::7:65535", "write [2001:db8::7]:65535"),
            ("1:2:3:4:5:6:7:8:74", "write [1:2:3:4:5:6:7:8]:74"),
            ("fe80::1%eth0:7400", "write [fe80::1%eth0]:7400"),
            ("::ffff:10.0.0.1:74", "write [::ffff:10.0.0.1]:74"),
        ] {
            let error = text.parse::<RouterAddress>().expect_err(text).to_string();
            assert!(error.ends_with(cures), "{error}");
        }
    }

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown, loopback) in [
            ("router.example", "router.example:7400", false),
            ("router.example:9", "router.example:9", false),
            ("localhost", "localhost:7400", true),
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("::1", "[::1]:7400", true),
            ("[::1]:5", "[::1]:5", true),
            ("[2001:db8::1]", "[2001:db8::1]:7400", false),
            ("[fe80::1%eth0]:5", "[fe80::1%eth0]:5", false),
            ("::1%lo", "[::1%lo]:7400", true),
            ("Router.Example.", "router.example.:7400", false),
            ("LOCALHOST.:1", "localhost.:1", true),
            ("[::ffff:10.0.0.1]:5", "10.0.0.1:5", false),
            ("::ffff:127.0.0.1", "127.0.0.1:7400", true),
            ("::7400", "[::7400]:7400", false),
            ("fd00::740", "[fd00::740]:7400", false),
            ("1:2:3:4:5:6:7:7400", "[1:2:3:4:5:6:7:7400]:7400", false),
        ] {
            let address: RouterAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_loopback()), (shown, loopback));
            assert_eq!(shown.parse(), Ok(address));
        }
        for text in [
            "", ":7400", "a:b", "a:0", "a:70000", "[::1", "[::1]7", "[web]:1", "1:2:3", "quic://a", "a b",
            "[::1%]:1", "::1%a%b",
        ] {
            assert!(text.parse::<RouterAddress>().is_err(), "{text}");
        }
    }
}
