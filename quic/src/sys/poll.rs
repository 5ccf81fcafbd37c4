//! epoll, level-triggered, with nanosecond timeouts where the kernel has them (5.11).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Events taken per call.
const EVENTS: usize = 64;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    ReadWrite,
}

impl Interest {
    const fn bits(self) -> u32 {
        match self {
            Self::Read => libc::EPOLLIN as u32,
            Self::ReadWrite => (libc::EPOLLIN | libc::EPOLLOUT) as u32,
        }
    }
}

/// A set of descriptors to wait for, each with a token.
#[derive(Debug)]
pub(crate) struct Poll {
    fd: OwnedFd,
    /// Whether the kernel lacks `epoll_pwait2`.
    coarse: bool,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, coarse: false })
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    pub(crate) fn change(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: BorrowedFd<'_>,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.bits(), u64: token };
        // SAFETY: both descriptors are open, the event lives through the call.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits at most `timeout` (zero only looks) and reports `(token, readable, writable)`.
    /// Interruptions are no events.
    pub(crate) fn wait(
        &mut self,
        timeout: Duration,
        mut ready: impl FnMut(u64, bool, bool),
    ) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let mut count = if self.coarse { -1 } else { self.wait_fine(&mut events, timeout) };
        if count < 0 && !self.coarse {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOSYS | libc::EPERM) => self.coarse = true,
                Some(libc::EINTR) => return Ok(()),
                _ => return Err(error),
            }
        }
        if self.coarse {
            count = self.wait_coarse(&mut events, timeout);
            if count < 0 {
                let error = io::Error::last_os_error();
                return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
            }
        }
        for event in &events[..usize::try_from(count).unwrap_or(0)] {
            let (bits, token) = (event.events, event.u64);
            let failed = bits & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
            ready(
                token,
                failed || bits & libc::EPOLLIN as u32 != 0,
                failed || bits & libc::EPOLLOUT as u32 != 0,
            );
        }
        Ok(())
    }

    fn wait_fine(&self, events: &mut [libc::epoll_event; EVENTS], timeout: Duration) -> libc::c_int {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
        };
        // SAFETY: the array has the stated length, the timeout lives through the call, a null mask
        // changes no signals.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                events.as_mut_ptr(),
                EVENTS,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        libc::c_int::try_from(count).unwrap_or(-1)
    }

    fn wait_coarse(&self, events: &mut [libc::epoll_event; EVENTS], timeout: Duration) -> libc::c_int {
        // Rounded up: waking early would only spin.
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
        let capacity = libc::c_int::try_from(EVENTS).unwrap_or(1);
        // SAFETY: the array has the stated length.
        unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), capacity, millis) }
    }
}
