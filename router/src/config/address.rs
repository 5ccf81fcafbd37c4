//! Addresses as people write them: those that can be dialled, and a cure for each that cannot.
//!
//! Parsing asks no network, because names are looked up later. Names are kept in lower case and
//! without their final dot, because DNS takes both spellings for one name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use millrace_proto::DEFAULT_PORT;
use rustix::net::netdevice;

/// Characters of a name, at most (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 253;
/// Characters of one label of a name, at most.
const LABEL_MAX: usize = 63;

/// A host: an address, or a name that DNS knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// IPv4, or IPv6 without a zone.
    Ip(IpAddr),
    /// IPv6 with the name or number of an interface of this host.
    Zoned(Ipv6Addr, String),
    /// A name in lower case, without a final dot.
    Name(String),
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host {
            Host::Ip(ip) => SocketAddr::new(*ip, *port).fmt(f),
            Host::Zoned(ip, zone) => write!(f, "[{ip}%{zone}]:{port}"),
            Host::Name(name) => write!(f, "{name}:{port}"),
        }
    }
}

/// `HOST:PORT` that others dial: a name or an address that means the same router on every host.
///
/// # Errors
/// What is wrong, and what to write.
pub(crate) fn advertised(text: &str) -> Result<HostPort, String> {
    let parsed = host_and_port(text, None)?;
    match &parsed.host {
        Host::Zoned(..) => Err(format!(
            "`{text}` has a zone, which means something on this host alone; advertise a name or an address that \
             other hosts reach"
        )),
        Host::Ip(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Err(format!(
            "`{text}` is link-local: nobody can dial it without a zone of their own; advertise a name or an \
             address that other hosts reach"
        )),
        _ => dialled(text, parsed),
    }
}

/// A seed: `HOST:PORT`, a host (port 7400), or an SRV name, which begins with an underscore.
///
/// # Errors
/// What is wrong, and what to write.
pub(crate) fn seed(text: &str) -> Result<(), String> {
    if text.starts_with('_') {
        if let Some((service, port)) = text.rsplit_once(':') {
            return Err(format!(
                "`{text}` is an SRV name, which brings its port: leave out `:{port}` ({service})"
            ));
        }
        return name(text, text).map(drop);
    }
    dialled(text, host_and_port(text, Some(DEFAULT_PORT))?).map(drop)
}

/// An address of this host to listen on; port 0 lets the system choose.
///
/// # Errors
/// What is wrong, and what to write.
pub(crate) fn listened(text: &str) -> Result<SocketAddr, String> {
    let HostPort { host, port } = split(text, None)?;
    match host {
        Host::Ip(ip) if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => Err(format!(
            "`{text}` is an address of many hosts; listen on one of this host, or on [::] for all"
        )),
        Host::Ip(ip) => Ok(SocketAddr::new(ip, port)),
        Host::Zoned(ip, zone) => numeric(ip, &zone, port)
            .ok_or_else(|| format!("`{text}`: this host has no interface `{zone}` (see `ip link`)")),
        Host::Name(name) => Err(format!(
            "`{name}` is a name; write an address of this host such as 127.0.0.1:{port}, or [::]:{port} for all"
        )),
    }
}

/// A server that is asked by its address.
///
/// # Errors
/// What is wrong, and what to write.
pub(crate) fn server(text: &str) -> Result<SocketAddr, String> {
    let address = listened(text)?;
    if address.port() == 0 || address.ip().is_unspecified() {
        return Err(format!(
            "`{text}` cannot be asked; write the server's address and port, such as 10.0.0.10:53"
        ));
    }
    Ok(address)
}

/// What is wrong with an address whose zone is no interface of this host, or that needs a zone and
/// has none; other addresses and names have no such problem.
pub(crate) fn absent_zone(text: &str) -> Option<String> {
    match split(text, Some(DEFAULT_PORT)).ok()?.host {
        Host::Zoned(ip, zone) if numeric(ip, &zone, DEFAULT_PORT).is_none() => {
            Some(format!("`{text}`: this host has no interface `{zone}` (see `ip link`)"))
        }
        Host::Ip(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Some(format!(
            "`{text}` is link-local and names no interface: write [{ip}%eth0], for one of this host"
        )),
        _ => None,
    }
}

/// The address with its zone as the system's number of the interface; none where this host has no
/// such interface.
fn numeric(ip: Ipv6Addr, zone: &str, port: u16) -> Option<SocketAddr> {
    let socket =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).or_else(|_| UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)));
    let socket = socket.ok()?;
    let number = zone.parse().ok().filter(|&number| netdevice::index_to_name(&socket, number).is_ok());
    let scope = number.or_else(|| netdevice::name_to_index(&socket, zone).ok())?;
    Some(SocketAddrV6::new(ip, port, 0, scope).into())
}

fn dialled(text: &str, parsed: HostPort) -> Result<HostPort, String> {
    if let Host::Ip(ip) = parsed.host {
        if ip.is_unspecified() {
            return Err(format!("`{text}` means every address of a host; write the one to dial"));
        }
        if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(format!("`{text}` is an address of many hosts; write that of one"));
        }
    }
    Ok(parsed)
}

fn host_and_port(text: &str, default_port: Option<u16>) -> Result<HostPort, String> {
    let parsed = split(text, default_port)?;
    if parsed.port == 0 {
        return Err(format!(
            "`{text}` has port 0, which nobody can dial; write the port, usually {DEFAULT_PORT}"
        ));
    }
    Ok(parsed)
}

/// Splits the text into host and port.
fn split(text: &str, default_port: Option<u16>) -> Result<HostPort, String> {
    look(text)?;
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, behind)) = rest.split_once(']') else {
            return Err(format!("`{text}` opens a bracket and does not close it; write [ADDRESS]:PORT"));
        };
        let port = match (behind.strip_prefix(':'), behind, default_port) {
            (Some(digits), ..) => port(text, digits)?,
            (None, "", Some(port)) => port,
            (None, "", None) => return Err(no_port(text)),
            _ => return Err(format!("`{text}` has `{behind}` behind the bracket; write [ADDRESS]:PORT")),
        };
        return Ok(HostPort { host: v6(text, inside)?, port });
    }
    if text.contains(']') {
        return Err(format!("`{text}` closes a bracket and does not open it; write [ADDRESS]:PORT"));
    }
    if text.matches(':').count() > 1 {
        return bare_v6(text, default_port);
    }
    let (host, port) = match (text.split_once(':'), default_port) {
        (Some((host, digits)), _) => (host, port(text, digits)?),
        (None, Some(port)) => (text, port),
        (None, None) => return Err(no_port(text)),
    };
    if host.is_empty() {
        return Err(format!("`{text}` has no host before its port; write HOST:PORT"));
    }
    Ok(HostPort { host: v4_or_name(text, host)?, port })
}

/// Refuses texts that are no address at all, each in words of its own.
fn look(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty; write HOST:PORT".into());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or(rest);
        return Err(format!("`{text}` is a URL; leave out `{scheme}://` and write `{rest}`"));
    }
    if text.starts_with('\u{feff}') {
        return Err(format!(
            "`{}` begins with a byte order mark; delete it",
            text.trim_start_matches('\u{feff}')
        ));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("{text:?} has a blank or a control character in it; write HOST:PORT"));
    }
    if let Some(wrong) = text.chars().find(|c| "/\\@?#,;\"'*<>{}()|&$!=".contains(*c)) {
        return Err(format!("`{text}` has `{wrong}` in it, which no address has; write HOST:PORT"));
    }
    Ok(())
}

fn no_port(text: &str) -> String {
    if text.parse::<u16>().is_ok() {
        return format!("`{text}` is a port without a host; write `HOST:{text}`");
    }
    format!("`{text}` has no port; write `{text}:{DEFAULT_PORT}`, or the port that it has")
}

fn port(text: &str, digits: &str) -> Result<u16, String> {
    if digits.is_empty() {
        return Err(format!(
            "`{text}` ends without a port; write `{text}{DEFAULT_PORT}`, or the port that it has"
        ));
    }
    match digits.parse() {
        Ok(port) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Ok(port),
        _ => Err(format!("`{text}`: `{digits}` is not a port; ports are numbers up to 65535")),
    }
}

fn v6(text: &str, inside: &str) -> Result<Host, String> {
    let (address, zone) = inside.split_once('%').map_or((inside, None), |(a, zone)| (a, Some(zone)));
    let wrong = || format!("`{text}`: `{address}` is not an IPv6 address; brackets are for these alone");
    let ip: Ipv6Addr = address.parse().map_err(|_| wrong())?;
    match zone {
        // IPv4 that is written as IPv6 (RFC 4291, section 2.5.5.2) is one and the same address.
        None => Ok(Host::Ip(IpAddr::V6(ip).to_canonical())),
        Some(zone) if zone.is_empty() || zone.contains('%') => {
            Err(format!("`{text}` has `%` without an interface behind it, such as fe80::1%eth0"))
        }
        Some(zone) => Ok(Host::Zoned(ip, zone.to_owned())),
    }
}

/// Reads IPv6 without brackets. The place of a port in it is ambiguous, unless there is none.
fn bare_v6(text: &str, default_port: Option<u16>) -> Result<HostPort, String> {
    let (front, last) = text.rsplit_once(':').unwrap_or((text, ""));
    let looks_like_port = last.len() >= 4 && last.bytes().all(|digit| digit.is_ascii_digit());
    match (v6(text, text), default_port) {
        (Ok(host), Some(port)) if !looks_like_port => Ok(HostPort { host, port }),
        (Ok(_), None) if !looks_like_port => {
            Err(format!("`{text}` has no port, and IPv6 needs brackets; write `[{text}]:{DEFAULT_PORT}`"))
        }
        (Ok(_), _) => Err(format!(
            "`{text}` is IPv6 without brackets; write `[{front}]:{last}` or `[{text}]:{DEFAULT_PORT}`"
        )),
        (Err(_), _) if v6(text, front).is_ok() => {
            Err(format!("`{text}` is IPv6 without brackets; write `[{front}]:{last}`"))
        }
        (Err(_), _) => Err(format!("`{text}` has more than one `:` and is not IPv6; write HOST:PORT")),
    }
}

fn v4_or_name(text: &str, host: &str) -> Result<Host, String> {
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    name(text, host).map(Host::Name)
}

/// A name of DNS.
fn name(text: &str, host: &str) -> Result<String, String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > NAME_MAX {
        return Err(format!("the name in `{text}` is longer than {NAME_MAX} characters"));
    }
    if !name.is_ascii() {
        return Err(format!(
            "`{text}` has letters that DNS does not know; write the name's ASCII form (xn--…)"
        ));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(format!("`{text}` has two dots in a row, or one at the beginning"));
        }
        if label.len() > LABEL_MAX {
            return Err(format!("`{label}` in `{text}` is longer than {LABEL_MAX} characters"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(format!("`{label}` in `{text}` begins or ends with `-`, which no name does"));
        }
        if let Some(wrong) = label.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_".contains(*c)) {
            return Err(format!("`{text}` has `{wrong}` in its host, which no name has"));
        }
    }
    // A name never ends in a number, so that nobody takes it for an address (RFC 1123, section
    // 2.1).
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("`{host}` is neither an IPv4 address nor a name"));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_dialled_is_kept_in_one_spelling() {
        for (text, kept) in [
            ("router-0.mesh.example:7400", "router-0.mesh.example:7400"),
            ("Router-0.Mesh.Example.:7400", "router-0.mesh.example:7400"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[2001:DB8::1]:65535", "[2001:db8::1]:65535"),
            ("[::ffff:10.0.0.1]:7400", "10.0.0.1:7400"),
            ("my_host:7400", "my_host:7400"),
        ] {
            assert_eq!(advertised(text).map(|parsed| parsed.to_string()), Ok(kept.to_owned()));
        }
    }

    #[test]
    fn what_nobody_can_dial_is_refused_with_what_to_write() {
        for (text, word) in [
            ("", "empty"),
            ("host", "`host:7400`"),
            ("host:", "`host:7400`"),
            (":7400", "no host"),
            ("host:0", "port 0"),
            ("host:65536", "65535"),
            ("host:+74", "not a port"),
            ("host:port", "not a port"),
            ("quic://host:7400", "write `host:7400`"),
            ("my host:7400", "blank"),
            (" host:7400", "blank"),
            ("host:7400\n", "blank"),
            ("host:7400/path", "`/`"),
            ("user@host:7400", "`@`"),
            ("*:7400", "`*`"),
            ("a,b:7400", "`,`"),
            ("::1:7400", "`[::1]:7400`"),
            ("2001:db8::7:7400", "brackets"),
            ("1:2:3:4:5:6:7:8:7400", "`[1:2:3:4:5:6:7:8]:7400`"),
            ("::1", "brackets"),
            ("[::1", "does not close"),
            ("::1]:7400", "does not open"),
            ("[::1]", "no port"),
            ("[::1]7400", "behind the bracket"),
            ("[host]:7400", "not an IPv6 address"),
            ("[10.0.0.1]:7400", "not an IPv6 address"),
            ("a:b:7400", "more than one"),
            ("10.0.0.256:7400", "neither an IPv4 address nor a name"),
            ("10.0.1:7400", "neither an IPv4 address nor a name"),
            ("0.0.0.0:7400", "every address"),
            ("[::]:7400", "every address"),
            ("224.0.0.1:7400", "many hosts"),
            ("[ff02::1]:7400", "many hosts"),
            ("255.255.255.255:7400", "many hosts"),
            ("[::ffff:0.0.0.0]:7400", "every address"),
            ("[::ffff:224.0.0.1]:7400", "many hosts"),
            ("7400", "`HOST:7400`"),
            ("[fe80::1%eth0]:7400", "zone"),
            ("[fe80::1]:7400", "link-local"),
            ("a..b:7400", "two dots"),
            (".a:7400", "two dots"),
            ("-a:7400", "begins or ends"),
            ("müller.example:7400", "xn--"),
            ("\u{feff}host:7400", "byte order mark"),
        ] {
            let problem = advertised(text).map(|parsed| parsed.to_string()).expect_err(text);
            assert!(problem.contains(word), "{text:?}: {problem}");
        }
        let label = "a".repeat(64);
        assert!(advertised(&format!("{label}:1")).unwrap_err().contains("63"));
    }

    #[test]
    fn seeds_may_go_without_a_port_and_may_be_service_names() {
        for text in [
            "mesh.example",
            "mesh.example.",
            "MESH:7400",
            "10.0.0.1",
            "::1",
            "fd00::10",
            "[::1]",
            "[::1]:7400",
        ] {
            assert_eq!(seed(text), Ok(()), "{text}");
        }
        assert_eq!(seed("_millrace._udp.mesh.example"), Ok(()));
        assert_eq!(seed("[fe80::1%eth0]:7400"), Ok(()));
        for text in [
            "127.0.0.1:74000",
            "quic://127.0.0.1:7400",
            "127.0.0.1:",
            "[::1",
            "",
            "::1:7400",
            "_a._udp.b:7400",
            "[::]",
            "1.2.3",
        ] {
            assert!(seed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_zone_is_an_interface_of_this_host() {
        assert!(absent_zone("[fe80::1%nowhere]:7400").is_some_and(|problem| problem.contains("`nowhere`")));
        assert!(absent_zone("[fe80::1]:7400").is_some_and(|problem| problem.contains("[fe80::1%eth0]")));
        for right in ["[fe80::1%lo]:7400", "fe80::1%lo", "mesh.example", "10.0.0.1:7400", "_millrace._udp.x"]
        {
            assert_eq!(absent_zone(right), None, "{right}");
        }
    }

    #[test]
    fn listening_takes_addresses_of_this_host_with_any_port_and_zone() {
        assert_eq!(listened("127.0.0.1:0"), Ok(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert_eq!(listened("[::]:7400"), Ok("[::]:7400".parse().unwrap()));
        let zoned = listened("[::1%lo]:7400").unwrap();
        assert!(matches!(zoned, SocketAddr::V6(zoned) if zoned.scope_id() != 0));
        for (text, word) in [
            ("localhost:7400", "127.0.0.1:7400"),
            ("7400", "`HOST:7400`"),
            (":7400", "no host"),
            ("0.0.0.0", "no port"),
            ("[::1%nowhere]:1", "interface"),
            ("[::1%4000000000]:1", "interface"),
            ("[::1%0]:1", "interface"),
            ("224.0.0.1:1", "many hosts"),
        ] {
            let problem = listened(text).expect_err(text);
            assert!(problem.contains(word), "{text}: {problem}");
        }
        assert!(
            server("10.0.0.10:53").is_ok() && server("10.0.0.10:0").is_err() && server("0.0.0.0:53").is_err()
        );
    }
}
