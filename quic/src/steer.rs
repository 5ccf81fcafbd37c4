//! One UDP port shared by all cores of a router, each with its own socket.
//!
//! The sockets are bound in core order into one SO_REUSEPORT group. A classic BPF program gives
//! each packet to the socket of the core that two bytes of its destination connection id name
//! ([`CidShape`]).
//! The kernel makes the group when the second socket binds, so the program is attached then; until
//! all sockets are bound some packets reach another core, which the steering guard in
//! [`crate::Driver`] corrects. The group's order is that of binding: no single socket of it may be
//! closed while the others live.
//!
//! No second process joins the port by accident. The first socket binds without SO_REUSEPORT, which
//! the kernel refuses while any socket in the network namespace holds the port at an overlapping
//! address (`[::]`, `0.0.0.0` and `127.0.0.1` overlap); the option is set afterwards. There is no
//! lock beside the port, so there is none that another user can take, and the kernel gives the port
//! back when the process ends. Sockets of another user never join the group: the kernel compares
//! user ids.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::cid::VALUE_MASK;
use crate::{CidShape, sys};

/// The sockets of one port, in core order.
#[derive(Debug)]
pub struct Group {
    /// One per core.
    pub sockets: Vec<UdpSocket>,
    /// The address with its real port.
    pub addr: SocketAddr,
}

/// Binds `cores` sockets (1..=4096) to one address. Port 0 lets the system choose one that nobody
/// uses; an unspecified IPv6 address is dual-stack.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] when any socket holds the port at an overlapping address; else what
/// the system said. The text names the address. Nothing stays bound.
pub fn bind_group(addr: SocketAddr, cores: u16) -> io::Result<Group> {
    bind_group_of(addr, cores, &CidShape::default())
}

/// [`bind_group`] for cores whose connection ids have this shape
/// ([`CoreSettings::cids`](crate::CoreSettings::cids)).
///
/// # Errors
/// As [`bind_group`].
pub fn bind_group_of(addr: SocketAddr, cores: u16, cids: &CidShape) -> io::Result<Group> {
    if cores == 0 || cores > VALUE_MASK + 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a group has between 1 and 4096 cores"));
    }
    let first = bind(addr, Port::Exclusive)?;
    let addr = first.local_addr()?;
    SockRef::from(&first).set_reuse_port(true)?;
    let mut sockets = vec![first];
    for core in 1..cores {
        sockets.push(bind(addr, Port::Shared)?);
        if core == 1 {
            sys::attach_program(sockets[0].as_fd(), cores, VALUE_MASK, cids)?;
        }
    }
    Ok(Group { sockets, addr })
}

impl Group {
    /// Takes the steering program off: packets then reach any core, and the guard does all of the
    /// steering.
    ///
    /// # Errors
    /// What the system said, e.g. when there is only one core and so no program.
    pub fn detach(&self) -> io::Result<()> {
        sys::detach_program(self.sockets[0].as_fd())
    }
}

/// Whether a socket may join others on its port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Exclusive,
    Shared,
}

fn bind(addr: SocketAddr, port: Port) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if port == Port::Shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into()).map_err(|error| {
        let cure = if error.kind() == io::ErrorKind::AddrInUse {
            "; another process holds this port at this or an overlapping address: stop it, or choose another port"
        } else {
            ""
        };
        io::Error::new(error.kind(), format!("cannot bind UDP {addr}: {error}{cure}"))
    })?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::tests::shapes;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn second_group_at_an_overlapping_address_is_refused_with_a_reason() {
        for (held, wanted) in [
            ("127.0.0.1", "127.0.0.1"),
            ("[::]", "127.0.0.1"),
            ("[::]", "0.0.0.0"),
            ("[::]", "[::1]"),
            ("0.0.0.0", "127.0.0.1"),
            ("127.0.0.1", "0.0.0.0"),
            ("127.0.0.1", "[::]"),
        ] {
            for cores in [1, 2] {
                let group = bind_group(format!("{held}:0").parse().unwrap(), cores).unwrap();
                let wanted: SocketAddr = format!("{wanted}:{}", group.addr.port()).parse().unwrap();
                let error = bind_group(wanted, cores).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{wanted} beside {held}");
                assert!(error.to_string().contains("another process holds this port"), "{error}");
                drop(group);
                bind_group(wanted, cores).unwrap();
            }
        }
    }

    #[test]
    fn groups_at_addresses_that_do_not_overlap_share_a_port_number() {
        let group = bind_group(any(), 2).unwrap();
        bind_group(format!("127.0.0.2:{}", group.addr.port()).parse().unwrap(), 2).unwrap();
    }

    #[test]
    fn name_in_the_abstract_namespace_does_not_keep_a_router_from_its_port() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
        let addr = bind_group(any(), 1).unwrap().addr;
        let name = UnixAddr::from_abstract_name(format!("millrace-quic/{addr}")).unwrap();
        let _squatter = UnixDatagram::bind_addr(&name).unwrap();
        bind_group(addr, 2).unwrap();
    }

    #[test]
    fn port_of_a_foreign_program_is_refused_with_the_address() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = bind_group(taken.local_addr().unwrap(), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("cannot bind UDP 127.0.0.1"), "{error}");
    }

    /// Sends one packet per value and header form, and returns the value that each core saw, in
    /// order of arrival.
    fn values_by_core(group: &Group, cids: &CidShape, values: &[u16]) -> Vec<Vec<u16>> {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for value in values {
            // A short initial id steers by bytes 1 and 2, whatever the shape.
            let mut initial = [9; 21];
            initial[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
            initial[7..9].copy_from_slice(&value.to_be_bytes());
            let (mut short, mut long) = ([9; 22], [9; 26]);
            short[0] = 0x40;
            long[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 20]);
            short[1 + cids.steering_offset()..][..2].copy_from_slice(&value.to_be_bytes());
            long[6 + cids.steering_offset()..][..2].copy_from_slice(&value.to_be_bytes());
            for packet in [&initial[..], &short, &long] {
                client.send_to(packet, group.addr).unwrap();
            }
        }
        let mut seen = Vec::new();
        for socket in &group.sockets {
            let (mut buffer, mut of_core) = ([0; 64], Vec::new());
            while let Ok(bytes) = socket.recv(&mut buffer) {
                of_core.push(cids.steering_value(&buffer[..bytes]).unwrap());
            }
            seen.push(of_core);
        }
        seen
    }

    #[test]
    fn kernel_steers_all_header_forms_by_value_wherever_it_stands() {
        for cids in shapes() {
            let group = bind_group_of(any(), 3, &cids).unwrap();
            let values: Vec<u16> = (0..30).chain([0xffe, 0xfff]).collect();
            let seen = values_by_core(&group, &cids, &values);
            for (core, of_core) in seen.iter().enumerate() {
                let is_its_own = |value: &u16| usize::from(*value) % 3 == core;
                assert!(of_core.iter().all(is_its_own), "{cids:?}, core {core}: {of_core:?}");
            }
            assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), values.len() * 3);
        }
    }

    #[test]
    fn detached_group_sends_one_source_to_one_socket() {
        let group = bind_group(any(), 3).unwrap();
        group.detach().unwrap();
        let seen = values_by_core(&group, &CidShape::default(), &(0..12).collect::<Vec<_>>());
        let busy: Vec<_> = seen.iter().filter(|of_core| !of_core.is_empty()).collect();
        assert_eq!(busy.len(), 1);
        assert_eq!(busy[0].len(), 36);
    }
}
