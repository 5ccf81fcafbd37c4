//! Whether this host has the addresses that a router is to listen on, for `--check`.
//!
//! Each address is bound for a moment at a port of the system's choice, so that a router that runs
//! here is not disturbed and its ports are no problem. Ports that need a privilege are tried
//! themselves: one that is taken is refused to whoever asks, and nobody else notices.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::config::RouterConfig;
use crate::start_error::StartError;

/// Ports below this one need a privilege.
const UNPRIVILEGED_PORT_MIN: u16 = 1024;

/// What start would refuse.
pub(crate) fn problems(config: &RouterConfig) -> Vec<StartError> {
    let listen = config.listen;
    let mut problems = Vec::new();
    if let Err(source) = tried(listen, UdpSocket::bind) {
        problems.push(StartError::Listen { address: listen, source });
    }
    for (setting, address) in [("admin.listen", config.admin), ("admin.tls_listen", config.admin_tls)] {
        if let Some(address) = address
            && let Err(source) = tried(address, TcpListener::bind)
        {
            problems.push(StartError::Admin { setting, address, source });
        }
    }
    problems
}

fn tried<S>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<S>) -> io::Result<()> {
    let needs_privilege = (1..UNPRIVILEGED_PORT_MIN).contains(&address.port());
    let mut tried = address;
    if !needs_privilege {
        tried.set_port(0);
    }
    match bind(tried) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        bound => bound.map(drop),
    }
}
