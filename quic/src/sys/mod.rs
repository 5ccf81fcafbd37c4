//! System calls that std, socket2 and quinn-udp do not offer. All of the crate's unsafe code is in
//! this folder.
#![expect(unsafe_code, reason = "sendmmsg, epoll, eventfd and reuseport options are reached through libc")]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "routers and their load generator run on Linux; clients and `millrace` build on other systems, too"
);

mod poll;
mod reuseport;
mod send;

pub(crate) use poll::{Interest, Poll};
pub(crate) use reuseport::{attach_program, detach_program, kernel_drops};
pub(crate) use send::{BATCH_MAX, Message, Sender};

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A non-blocking eventfd.
pub(crate) fn event_fd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
