//! How large packets may be on their first hop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Bytes of the largest IP packet that the interface towards `remote` takes, or less where the
/// kernel knows that the path takes less.
///
/// # Errors
/// There is no route, or the process may have no more descriptors.
pub(crate) fn route_mtu(remote: SocketAddr) -> io::Result<usize> {
    let ip = remote.ip().to_canonical();
    let (any, level, option) = match ip {
        IpAddr::V4(_) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), libc::IPPROTO_IP, libc::IP_MTU),
        IpAddr::V6(_) => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    // Connecting a UDP socket sends nothing: it looks the route up.
    let socket = UdpSocket::bind((any, 0))?;
    match remote {
        // As it stands, with its zone.
        SocketAddr::V6(with_zone) if ip.is_ipv6() => socket.connect(with_zone)?,
        _ => socket.connect((ip, remote.port()))?,
    }
    let mut mtu: libc::c_int = 0;
    let mut bytes = libc::socklen_t::try_from(size_of_val(&mtu)).unwrap_or(0);
    // SAFETY: the integer lives through the call and has the stated size, which the kernel does not
    // exceed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut mtu).cast::<libc::c_void>(),
            &raw mut bytes,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(mtu).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_takes_large_packets_and_nobody_has_no_route() {
        assert!(route_mtu("127.0.0.1:9".parse().unwrap()).unwrap() > 9_000);
        assert!(route_mtu("[::ffff:127.0.0.1]:9".parse().unwrap()).unwrap() > 9_000);
        assert!(route_mtu("255.255.255.255:9".parse().unwrap()).is_err());
    }
}
