//! sendmmsg: many datagrams to many destinations in one call, each with its control messages.
//!
//! Every message may be a burst of equal segments (UDP_SEGMENT), carries its ECN mark (IP_TOS or
//! IPV6_TCLASS) and, where it is known, the address that it leaves from (IP_PKTINFO or
//! IPV6_PKTINFO).

use std::fmt;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Messages per call.
pub(crate) const BATCH_MAX: usize = 64;
/// Room for ECN (an int), a segment size (u16) and an IPv6 source address, each with header and
/// padding: 24 + 24 + 40.
const CONTROL_BYTES: usize = 88;

/// One message of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) destination: SocketAddr,
    pub(crate) source_ip: Option<IpAddr>,
    /// The two ECN bits.
    pub(crate) ecn: u8,
    /// Size of each segment, when `data` has several.
    pub(crate) segment_size: Option<u16>,
    pub(crate) data: &'a [u8],
}

/// Control messages of one message; aligned as the kernel reads them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Headers for a full batch, made once and reused.
pub(crate) struct Sender {
    headers: Box<[libc::mmsghdr; BATCH_MAX]>,
    pieces: Box<[libc::iovec; BATCH_MAX]>,
    names: Box<[libc::sockaddr_storage; BATCH_MAX]>,
    controls: Box<[Control; BATCH_MAX]>,
}

// SAFETY: the raw pointers in the headers point into this struct's own boxes and into the messages
// of the call under way; they are written anew at each call and never read between calls.
unsafe impl Send for Sender {}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    pub(crate) fn new() -> Self {
        // SAFETY: all four are plain C data, for which zeroes are a valid value.
        unsafe {
            Self {
                headers: Box::new(mem::zeroed()),
                pieces: Box::new(mem::zeroed()),
                names: Box::new(mem::zeroed()),
                controls: Box::new([Control([0; CONTROL_BYTES]); BATCH_MAX]),
            }
        }
    }

    /// Sends the first [`BATCH_MAX`] of `messages` and returns how many the kernel took, at least
    /// one.
    ///
    /// # Errors
    /// The error of the first message; none was taken. One that strikes later shows in the next
    /// call.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, messages: &[Message<'_>]) -> io::Result<usize> {
        let count = messages.len().min(BATCH_MAX);
        for (i, message) in messages[..count].iter().enumerate() {
            self.prepare(i, message);
        }
        loop {
            let count = libc::c_uint::try_from(count).unwrap_or(0);
            // SAFETY: the first `count` headers were just prepared; what they point to outlives the
            // call.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count, 0) };
            if let Ok(sent) = usize::try_from(sent) {
                return Ok(sent);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn prepare(&mut self, i: usize, message: &Message<'_>) {
        self.pieces[i] = libc::iovec {
            // The kernel only reads; the type is shared with receiving.
            iov_base: message.data.as_ptr().cast_mut().cast(),
            iov_len: message.data.len(),
        };
        let name_bytes = write_name(&mut self.names[i], message.destination);
        let header = &mut self.headers[i].msg_hdr;
        header.msg_name = (&raw mut self.names[i]).cast();
        header.msg_namelen = name_bytes;
        header.msg_iov = &raw mut self.pieces[i];
        header.msg_iovlen = 1;
        header.msg_control = self.controls[i].0.as_mut_ptr().cast();
        header.msg_flags = 0;
        let used = write_control(&mut self.controls[i].0, message);
        header.msg_controllen = used as _;
    }
}

/// Writes a socket address and returns its length.
fn write_name(name: &mut libc::sockaddr_storage, address: SocketAddr) -> libc::socklen_t {
    let address = socket2::SockAddr::from(address);
    // SAFETY: both sides are at least `len` bytes of plain data, and do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            std::ptr::from_mut(name).cast::<u8>(),
            address.len() as usize,
        );
    }
    address.len()
}

/// Writes the control messages and returns how many bytes they take.
fn write_control(buffer: &mut [u8; CONTROL_BYTES], message: &Message<'_>) -> usize {
    let mut writer = ControlWriter { buffer, used: 0 };
    // An IPv4 destination of a dual-stack socket is an IPv4 packet with IPv4 options.
    let is_v4 = match message.destination.ip() {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    };
    let ecn = libc::c_int::from(message.ecn);
    if is_v4 {
        writer.push(libc::IPPROTO_IP, libc::IP_TOS, ecn);
    } else {
        writer.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, ecn);
    }
    if let Some(size) = message.segment_size.filter(|size| usize::from(*size) < message.data.len()) {
        writer.push(libc::SOL_UDP, libc::UDP_SEGMENT, size);
    }
    match message.source_ip {
        Some(IpAddr::V4(ip)) => writer.push(
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            },
        ),
        Some(IpAddr::V6(ip)) => writer.push(
            libc::IPPROTO_IPV6,
            libc::IPV6_PKTINFO,
            libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: libc::in6_addr { s6_addr: ip.octets() } },
        ),
        None => {}
    }
    writer.used
}

/// Appends control messages in the layout of cmsg(3): header, data, padding to the next header.
struct ControlWriter<'a> {
    buffer: &'a mut [u8; CONTROL_BYTES],
    used: usize,
}

impl ControlWriter<'_> {
    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let bytes = libc::c_uint::try_from(size_of::<T>()).unwrap_or(0);
        // SAFETY: these only compute lengths.
        let (length, space) = unsafe { (libc::CMSG_LEN(bytes) as usize, libc::CMSG_SPACE(bytes) as usize) };
        assert!(self.used + space <= CONTROL_BYTES, "the buffer fits all control messages that are used");
        // SAFETY: zeroes are a valid header.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = length as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let data_at = length - size_of::<T>();
        let start = self.buffer[self.used..].as_mut_ptr();
        // SAFETY: `space` bytes from `start` are inside the buffer (asserted above); writes are
        // unaligned-safe.
        unsafe {
            start.cast::<libc::cmsghdr>().write_unaligned(header);
            start.add(data_at).cast::<T>().write_unaligned(value);
        }
        self.used += space;
    }
}

impl<'a> Message<'a> {
    /// Number of datagrams.
    pub(crate) fn segments(&self) -> u64 {
        self.segment_size.map_or(1, |size| self.data.len().div_ceil(usize::from(size.max(1))) as u64)
    }

    /// The datagrams as messages of their own.
    pub(crate) fn split(&self) -> impl Iterator<Item = Self> + use<'a> {
        let size = self.segment_size.map_or(self.data.len(), usize::from).max(1);
        let whole = *self;
        self.data.chunks(size).map(move |data| Message { segment_size: None, data, ..whole })
    }
}
