//! One UDP port shared by all cores of a router, each with its own socket.
//!
//! Sockets are bound in core order into one SO_REUSEPORT group, and a classic BPF program gives each packet to the socket
//! of the core that its destination connection id names (bytes 1–2, see DESIGN §4). The program is attached to the first
//! socket before the others bind, and nobody should read before all are bound: until then some packets land elsewhere,
//! which the guard in [`crate::Driver`] makes harmless. The group's order is that of binding, so no single socket of it may
//! ever be closed while the others live.
//!
//! A second process of the same user would silently join the group and take part of the traffic. So an abstract unix
//! socket named by address and port is held as a lock while the group lives ([`PortGuard`]).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};

use socket2::{Domain, Protocol, Socket, Type};

use crate::cid::VALUE_MASK;
use crate::sys;

/// Ports tried when the system chooses one that another process holds.
const PORT_TRIES: usize = 64;

/// The sockets of one port, in core order.
#[derive(Debug)]
pub struct Group {
    /// One per core.
    pub sockets: Vec<UdpSocket>,
    /// Keep it as long as any of the sockets.
    pub guard: PortGuard,
    /// The address with its real port.
    pub addr: SocketAddr,
}

/// Holds a port against other processes on this host (network namespace) until it is dropped.
#[derive(Debug)]
pub struct PortGuard {
    _lock: UnixDatagram,
}

/// Binds `cores` sockets (1..=4096) to one address. Port 0 lets the system choose; an unspecified IPv6 address is
/// dual-stack.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] with an explanation when another process holds the port; else what the system said.
/// Nothing stays bound.
pub fn bind_group(addr: SocketAddr, cores: u16) -> io::Result<Group> {
    if cores == 0 || cores > VALUE_MASK + 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a group has between 1 and 4096 cores"));
    }
    let (first, guard, addr) = bind_first(addr)?;
    if cores > 1 {
        sys::attach_program(first.as_fd(), cores, VALUE_MASK)?;
    }
    let mut sockets = vec![first];
    for _ in 1..cores {
        sockets.push(bind(addr)?);
    }
    Ok(Group { sockets, guard, addr })
}

impl Group {
    /// Takes the steering program off: packets then reach any core, and the guard does all of the steering.
    ///
    /// # Errors
    /// What the system said, e.g. when there is only one core and so no program.
    pub fn detach(&self) -> io::Result<()> {
        sys::detach_program(self.sockets[0].as_fd())
    }
}

/// The first socket with the lock on its port.
fn bind_first(addr: SocketAddr) -> io::Result<(UdpSocket, PortGuard, SocketAddr)> {
    if addr.port() != 0 {
        // The lock first, so that a running group is never joined, not even for a moment.
        let guard = lock(addr)?;
        return Ok((bind(addr)?, guard, addr));
    }
    let mut tries = 0;
    loop {
        let socket = bind(addr)?;
        let real = socket.local_addr()?;
        match lock(real) {
            Ok(guard) => return Ok((socket, guard, real)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket
        .bind(&addr.into())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot bind UDP {addr}: {error}")))?;
    Ok(socket.into())
}

fn lock(addr: SocketAddr) -> io::Result<PortGuard> {
    let name = UnixAddr::from_abstract_name(format!("millrace-quic/{addr}"))?;
    match UnixDatagram::bind_addr(&name) {
        Ok(lock) => Ok(PortGuard { _lock: lock }),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("UDP {addr} is in use by another Millrace process on this host"),
        )),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn second_group_on_the_port_is_refused_with_a_reason() {
        let group = bind_group(any(), 2).unwrap();
        let error = bind_group(group.addr, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("another Millrace process"), "{error}");
        let addr = group.addr;
        drop(group);
        bind_group(addr, 2).unwrap();
    }

    #[test]
    fn port_of_a_foreign_program_is_refused_with_the_address() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = bind_group(taken.local_addr().unwrap(), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("cannot bind UDP 127.0.0.1"), "{error}");
    }

    /// Sends one packet per value and header form, and returns the value that each core saw, in order of arrival.
    fn values_by_core(group: &Group, values: &[u16]) -> Vec<Vec<u16>> {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for value in values {
            let [high, low] = value.to_be_bytes();
            let short = [0x40, 9, high, low, 1, 1, 1, 1, 1];
            let long = [0xc0, 0, 0, 0, 1, 8, 9, high, low, 1, 1, 1, 1, 1];
            client.send_to(&short, group.addr).unwrap();
            client.send_to(&long, group.addr).unwrap();
        }
        let mut seen = Vec::new();
        for socket in &group.sockets {
            let (mut buffer, mut of_core) = ([0; 64], Vec::new());
            while let Ok(bytes) = socket.recv(&mut buffer) {
                of_core.push(crate::cid::steering_value(&buffer[..bytes]).unwrap());
            }
            seen.push(of_core);
        }
        seen
    }

    #[test]
    fn kernel_steers_both_header_forms_by_value() {
        let group = bind_group(any(), 3).unwrap();
        let values: Vec<u16> = (0..30).chain([0xffe, 0xfff]).collect();
        let seen = values_by_core(&group, &values);
        for (core, of_core) in seen.iter().enumerate() {
            assert!(of_core.iter().all(|value| usize::from(*value) % 3 == core), "core {core}: {of_core:?}");
        }
        assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), values.len() * 2);
    }

    #[test]
    fn detached_group_sends_one_source_to_one_socket() {
        let group = bind_group(any(), 3).unwrap();
        group.detach().unwrap();
        let seen = values_by_core(&group, &(0..12).collect::<Vec<_>>());
        let busy: Vec<_> = seen.iter().filter(|of_core| !of_core.is_empty()).collect();
        assert_eq!(busy.len(), 1);
        assert_eq!(busy[0].len(), 24);
    }
}
