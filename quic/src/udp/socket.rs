//! One UDP socket: its options, what waits for it, and how it sends.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::SockRef;

use crate::sys::{self, BATCH_MAX, Message, Sender};
use crate::{Metrics, SocketBuffers};

/// A datagram that the kernel did not take.
#[derive(Debug)]
struct Kept {
    destination: SocketAddr,
    source_ip: Option<IpAddr>,
    ecn: u8,
    segment_size: Option<u16>,
    data: Box<[u8]>,
}

#[derive(Debug)]
pub(super) struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    buffers: SocketBuffers,
    /// 1 once the system has refused segmentation offload.
    segments_max: usize,
    /// In order; not empty exactly while the socket is blocked.
    backlog: VecDeque<Kept>,
    /// In the queue of sockets to read.
    pub(super) is_ready: bool,
}

impl Socket {
    pub(super) fn bind(local: SocketAddr, buffer_bytes: usize) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(local), socket2::Type::DGRAM, None)?;
        if local.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&local.into())?;
        Self::new(socket.into(), buffer_bytes)
    }

    pub(super) fn new(udp: UdpSocket, buffer_bytes: usize) -> io::Result<Self> {
        let options = SockRef::from(&udp);
        // More than the system allows is clamped without a word; so ask, and show what was granted.
        let _ = options.set_recv_buffer_size(buffer_bytes);
        let _ = options.set_send_buffer_size(buffer_bytes);
        let buffers = SocketBuffers {
            receive_bytes: options.recv_buffer_size()?,
            send_bytes: options.send_buffer_size()?,
        };
        let state = UdpSocketState::new((&udp).into())?;
        let (local, segments_max) = (udp.local_addr()?, state.max_gso_segments());
        Ok(Self { udp, state, local, buffers, segments_max, backlog: VecDeque::new(), is_ready: false })
    }

    pub(super) fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        self.state.recv((&self.udp).into(), buffers, meta)
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn buffers(&self) -> SocketBuffers {
        self.buffers
    }

    pub(super) fn segments_max(&self) -> usize {
        self.segments_max
    }

    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.backlog.is_empty()
    }

    pub(super) fn backlog_datagrams(&self) -> u64 {
        self.backlog.len() as u64
    }

    pub(super) fn kernel_drops(&self) -> u64 {
        sys::kernel_drops(self.udp.as_fd()).unwrap_or(0)
    }

    /// Sends, or keeps what the kernel does not take now. `true` when that has just begun to be the case.
    pub(super) fn transmit(
        &mut self,
        messages: Vec<Message<'_>>,
        sender: &mut Sender,
        counters: &mut Metrics,
    ) -> bool {
        let was_blocked = self.is_blocked();
        let left = if was_blocked { messages } else { self.send_all(messages, sender, counters) };
        self.backlog.extend(left.into_iter().map(|message| Kept {
            destination: message.destination,
            source_ip: message.source_ip,
            ecn: message.ecn,
            segment_size: message.segment_size,
            data: message.data.into(),
        }));
        self.is_blocked() && !was_blocked
    }

    /// Sends what was kept; `true` when nothing is left of it.
    pub(super) fn retry(&mut self, sender: &mut Sender, counters: &mut Metrics) -> bool {
        let backlog = std::mem::take(&mut self.backlog);
        let messages = backlog.iter().map(|kept| Message {
            destination: kept.destination,
            source_ip: kept.source_ip,
            ecn: kept.ecn,
            segment_size: kept.segment_size,
            data: &kept.data,
        });
        !self.transmit(messages.collect(), sender, counters)
    }

    /// Sends until the kernel takes no more, and returns the rest.
    fn send_all<'d>(
        &mut self,
        mut messages: Vec<Message<'d>>,
        sender: &mut Sender,
        counters: &mut Metrics,
    ) -> Vec<Message<'d>> {
        let mut done = 0;
        while done < messages.len() {
            counters.send_calls += 1;
            match sender.send(self.udp.as_fd(), &messages[done..messages.len().min(done + BATCH_MAX)]) {
                Ok(count) => {
                    for message in &messages[done..done + count] {
                        counters.datagrams_out += message.segments();
                        counters.bytes_out += message.data.len() as u64;
                    }
                    done += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    counters.send_blocked += 1;
                    return messages.split_off(done);
                }
                Err(error) if refuses_offload(&error) && messages[done].segments() > 1 => {
                    // The driver or device cannot; from here on each datagram goes by itself.
                    counters.offload_disabled += u64::from(self.segments_max > 1);
                    self.segments_max = 1;
                    messages = messages[done..].iter().flat_map(Message::split).collect();
                    done = 0;
                }
                Err(error) => {
                    if error.raw_os_error() == Some(libc::EMSGSIZE) {
                        counters.drops.too_large += messages[done].segments();
                    } else {
                        counters.socket_errors += 1;
                        counters.drops.send_error += messages[done].segments();
                    }
                    done += 1;
                }
            }
        }
        Vec::new()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}

/// Linux reports missing segmentation offload as EIO, in some cases as EINVAL.
fn refuses_offload(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}
