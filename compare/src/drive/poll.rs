//! Waiting for sockets.
#![expect(unsafe_code, reason = "ppoll has no safe wrapper in std")]

use std::os::fd::RawFd;
use std::time::Duration;

/// A socket that is waited for.
pub(crate) type Wanted = libc::pollfd;

/// Waits for bytes to read, and with `write` for room to write.
pub(crate) const fn wanted(fd: RawFd, write: bool) -> Wanted {
    libc::pollfd { fd, events: if write { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN }, revents: 0 }
}

/// Waits until one of them is ready, at most this long. What is ready is found by trying.
pub(crate) fn wait(sockets: &mut [Wanted], longest: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(longest.as_secs()).unwrap_or(1),
        tv_nsec: libc::c_long::from(longest.subsec_nanos()),
    };
    let count = libc::nfds_t::try_from(sockets.len()).unwrap_or(0);
    // SAFETY: the pointer is to `count` pollfds that live through the call, and the timeout lives
    // as long; no signal mask.
    unsafe { libc::ppoll(sockets.as_mut_ptr(), count, &raw const timeout, std::ptr::null()) };
}
