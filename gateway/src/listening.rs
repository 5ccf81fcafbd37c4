//! Addresses that programs listen on: whether this host has them, who has them already, and what to
//! do about it.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Ports below this one need a privilege.
const UNPRIVILEGED_PORT_MIN: u16 = 1024;

/// What listens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    fn bind(self, address: SocketAddr) -> io::Result<()> {
        match self {
            Self::Tcp => TcpListener::bind(address).map(drop),
            Self::Udp => UdpSocket::bind(address).map(drop),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// What a setting opens, for people.
pub(crate) fn door(setting: &str) -> &'static str {
    match setting {
        "http.listen" => "the HTTP door",
        "syslog.udp" => "the syslog door for datagrams",
        "syslog.tcp" => "the syslog door",
        "syslog.tls" => "the syslog door over TLS",
        "nats.listen" => "the NATS door",
        "mqtt.listen" => "the MQTT door",
        "unix.listen" => "the unix socket",
        _ => "the admin page",
    }
}

/// What to do about an address that the system refuses, behind its words.
pub(crate) fn cure(error: &io::Error) -> &'static str {
    // Errors of this program say it themselves.
    if error.raw_os_error().is_none() {
        return "";
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process has this port, perhaps a program of this kind that runs already (`ss -lntup` names it): \
             stop it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "; it is not an address of this host (`ip addr` lists them)",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose another port, or give it that"
        }
        _ => "",
    }
}

/// Whether this host has an address to listen on, for `--check`: it is bound for a moment, at a
/// port of the system's choice. Ports that need a privilege are tried themselves; one that is taken
/// is no problem of the settings ([`taken`]).
///
/// # Errors
/// Why not.
pub(crate) fn try_address(mut address: SocketAddr, protocol: Protocol) -> io::Result<()> {
    if !(1..UNPRIVILEGED_PORT_MIN).contains(&address.port()) {
        address.set_port(0);
    }
    match protocol.bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        bound => bound,
    }
}

/// That an address is in use now, for `--check`, which is run beside the program that it is for,
/// too. A port that is free is bound for a moment.
pub(crate) fn taken(setting: &str, address: SocketAddr, protocol: Protocol) -> Option<String> {
    let bound = protocol.bind(address);
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse).then(|| {
        format!(
            "`{setting}`: {} {address} is in use now: by this program, if it runs already, or by another one, which \
             would keep {} from opening",
            protocol.name(),
            door(setting)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_warned_of_and_refused_with_a_cure() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let both = [(tcp.local_addr().unwrap(), Protocol::Tcp), (udp.local_addr().unwrap(), Protocol::Udp)];
        for (address, protocol) in both {
            try_address(address, protocol).unwrap();
            let warning = taken("http.listen", address, protocol).unwrap();
            let needed = ["`http.listen`", protocol.name(), &address.to_string(), "the HTTP door"];
            assert!(needed.iter().all(|words| warning.contains(words)), "{warning}");
            let refused = protocol.bind(address).unwrap_err();
            assert!(cure(&refused).contains("choose another port"));
        }
        assert_eq!(cure(&io::Error::other("says it itself")), "");
    }

    #[test]
    fn an_address_of_another_host_is_refused_with_a_cure() {
        let refused = try_address("192.0.2.1:7480".parse().unwrap(), Protocol::Tcp).unwrap_err();
        assert!(cure(&refused).contains("ip addr"));
    }
}
