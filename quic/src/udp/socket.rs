//! One UDP socket: its options, its backlog, and how it sends.

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
    /// Most segments of one send; 1 once the system has refused segmentation offload.
    segments_max: usize,
    /// Kept datagrams in order; not empty exactly while the socket is blocked.
    backlog: VecDeque<Kept>,
    /// Whether it is in the queue of sockets to read.
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
        // The system clamps larger sizes silently, so that the socket asks for what was granted.
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

    /// Sends, and keeps what the kernel does not take. `true` when that begins a backlog.
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

    /// Sends the backlog; `true` when nothing is left of it.
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
                    // The driver or device cannot segment: from here on each datagram goes by
                    // itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        socket: Socket,
        sender: Sender,
        counters: Metrics,
        receiver: Socket,
    }

    fn fixture(bind: &str) -> Fixture {
        Fixture {
            socket: Socket::bind(bind.parse().unwrap(), 1 << 20).unwrap(),
            sender: Sender::new(),
            counters: Metrics::default(),
            receiver: Socket::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap(),
        }
    }

    impl Fixture {
        fn message<'d>(&self, data: &'d [u8], segment_size: Option<u16>) -> Message<'d> {
            Message { destination: self.receiver.local_addr(), source_ip: None, ecn: 0, segment_size, data }
        }

        fn transmit(&mut self, messages: Vec<Message<'_>>) -> bool {
            self.socket.transmit(messages, &mut self.sender, &mut self.counters)
        }

        /// Everything that has arrived: bytes of each datagram, and how the first came in.
        fn received(&self) -> (Vec<Vec<u8>>, RecvMeta) {
            let (mut datagrams, mut first) = (Vec::new(), None);
            let mut buffer = vec![0; 1 << 16];
            let mut meta = [RecvMeta::default()];
            while self.receiver.receive(&mut [IoSliceMut::new(&mut buffer)], &mut meta).is_ok() {
                datagrams.extend(buffer[..meta[0].len].chunks(meta[0].stride.max(1)).map(<[u8]>::to_vec));
                first.get_or_insert(meta[0]);
            }
            (datagrams, first.unwrap_or_default())
        }
    }

    #[test]
    fn segments_arrive_as_datagrams_of_their_own() {
        let mut fixture = fixture("127.0.0.1:0");
        let data: Vec<u8> = (0..25).collect();
        let messages = vec![fixture.message(&data, Some(10)), fixture.message(b"lone", None)];
        assert!(!fixture.transmit(messages));
        let (datagrams, _) = fixture.received();
        assert_eq!(datagrams, [&data[..10], &data[10..20], &data[20..], b"lone"]);
        assert_eq!((fixture.counters.datagrams_out, fixture.counters.send_calls), (4, 1));
    }

    #[test]
    fn refused_offload_is_switched_off_and_the_datagrams_go_one_by_one() {
        let mut fixture = fixture("127.0.0.1:0");
        fixture.socket.segments_max = 64;
        // More segments than the kernel takes: EINVAL, like from a device without offload.
        let data = vec![6; 4000];
        let messages = vec![fixture.message(&data, Some(10)), fixture.message(b"next", None)];
        assert!(!fixture.transmit(messages));
        let (datagrams, _) = fixture.received();
        assert_eq!(datagrams.len(), 401);
        assert_eq!(datagrams[400], b"next");
        assert_eq!(fixture.socket.segments_max(), 1);
        assert_eq!((fixture.counters.offload_disabled, fixture.counters.drops.send_error), (1, 0));
    }

    #[test]
    fn datagram_that_cannot_be_sent_does_not_hold_up_the_others() {
        let mut fixture = fixture("127.0.0.1:0");
        let too_large = vec![0; 65_520];
        let nowhere = Message { destination: "[::1]:9".parse().unwrap(), ..fixture.message(b"lost", None) };
        let messages = vec![
            fixture.message(b"one", None),
            fixture.message(&too_large, None),
            nowhere,
            fixture.message(b"two", None),
        ];
        assert!(!fixture.transmit(messages));
        assert_eq!(fixture.received().0, [b"one", b"two"]);
        assert_eq!((fixture.counters.drops.too_large, fixture.counters.drops.send_error), (1, 1));
    }

    #[test]
    fn what_was_kept_goes_first_and_in_order() {
        let mut fixture = fixture("127.0.0.1:0");
        // As after EAGAIN, which the loopback interface never returns.
        let destination = fixture.receiver.local_addr();
        let (source_ip, ecn, segment_size) = (None, 0, None);
        fixture.socket.backlog.push_back(Kept {
            destination,
            source_ip,
            ecn,
            segment_size,
            data: (*b"a").into(),
        });
        let messages = vec![fixture.message(b"b", None)];
        assert!(!fixture.transmit(messages), "it was blocked before");
        assert!(fixture.received().0.is_empty());
        assert!(fixture.socket.retry(&mut fixture.sender, &mut fixture.counters));
        assert_eq!(fixture.received().0, [b"a", b"b"]);
        assert!(!fixture.socket.is_blocked());
    }

    #[test]
    fn ecn_mark_and_source_address_are_set_and_seen() {
        for (bind, source) in [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::ffff:127.0.0.7")] {
            let mut fixture = fixture(bind);
            let port = fixture.receiver.local_addr().port();
            let host = if bind.starts_with('[') { "[::ffff:127.0.0.1]" } else { "127.0.0.1" };
            let messages = vec![Message {
                destination: format!("{host}:{port}").parse().unwrap(),
                source_ip: Some(source.parse().unwrap()),
                ecn: 0b10,
                ..fixture.message(b"marked", None)
            }];
            fixture.transmit(messages);
            let (datagrams, meta) = fixture.received();
            assert_eq!(datagrams, [b"marked"]);
            assert_eq!(meta.ecn, Some(quinn_udp::EcnCodepoint::Ect0));
            assert_eq!(meta.addr.ip(), "127.0.0.7".parse::<IpAddr>().unwrap());
            assert_eq!(meta.dst_ip, Some("127.0.0.1".parse().unwrap()));
        }
    }
}
