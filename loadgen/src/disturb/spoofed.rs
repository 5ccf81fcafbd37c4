//! Junk handshakes from forged addresses: first packets, each of a connection of its own, and
//! nobody who reads what comes back. A Retry is never answered.
//!
//! Packets with forged senders need rights that a load generator should not ask for. To a router
//! there is no difference to a socket that is never read: its answers go to where nobody is.
//!
//! The packets are made before the run, because a key exchange each would take CPU from those who
//! measure.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use millrace_measure::figures::whole;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, Endpoint, EndpointConfig};

use super::kind::Order;
use super::outcome::Outcome;
use super::stranger::{Pace, SOURCES, TICK, socket, sources};
use crate::fleet::Target;

/// First packets that are kept, at most: 20 MB. Beyond, they come again, when the routers have long
/// forgotten them.
const PACKETS_MAX: u64 = 16_384;

/// First packets, and where they go.
pub(super) struct Spoofed {
    packets: Vec<Vec<u8>>,
    sockets: Vec<UdpSocket>,
    targets: Vec<SocketAddr>,
    per_second: u32,
}

impl Spoofed {
    /// Makes the packets of a stretch of `duration`.
    pub(super) fn new(
        targets: &[Target],
        tls: &Arc<rustls::ClientConfig>,
        per_second: u32,
        duration: Duration,
    ) -> io::Result<Self> {
        let wanted = whole(f64::from(per_second) * duration.as_secs_f64()).clamp(1, PACKETS_MAX);
        let packets = (0..wanted).map(|number| {
            let place = usize::try_from(number).unwrap_or(0) % targets.len();
            first_packet(&targets[place], tls).ok_or_else(|| io::Error::other("no first packet"))
        });
        let packets = packets.collect::<io::Result<Vec<_>>>()?;
        let targets: Vec<_> = targets.iter().map(|target| target.address).collect();
        let sockets = sources(targets[0]).map(socket).collect::<io::Result<Vec<_>>>()?;
        for socket in &sockets {
            // The least that the kernel gives: nobody reads what comes back.
            rustix::net::sockopt::set_socket_recv_buffer_size(socket, 1)?;
        }
        Ok(Self { packets, sockets, targets, per_second })
    }

    /// Sends as it is told, until it is told to finish.
    pub(super) fn follow(self, orders: &Receiver<Order>, outcomes: &Sender<Outcome>) {
        let mut active: Option<Active> = None;
        loop {
            let order = match &active {
                Some(_) => orders.recv_timeout(TICK),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Begin(_)) => {
                    active =
                        Some(Active { pace: Pace::new(Instant::now(), self.per_second), sent: 0, unsent: 0 });
                }
                Ok(Order::End) => {
                    if let Some(Active { pace, sent, unsent }) = active.take() {
                        let seconds = pace.elapsed(Instant::now()).max(1e-9);
                        let per_s = sent as f64 / seconds;
                        // Who asked has gone away when nobody listens; Finish follows.
                        let _ = outcomes.send(Outcome::JunkSpoofed { sent, per_s, unsent });
                    }
                }
                Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(active) = &mut active {
                for _ in 0..active.pace.take(Instant::now()) {
                    let number = usize::try_from(active.sent + active.unsent).unwrap_or(0);
                    let is_sent = self.send(number);
                    active.sent += u64::from(is_sent);
                    active.unsent += u64::from(!is_sent);
                }
            }
        }
    }

    fn send(&self, number: usize) -> bool {
        let place = number % self.packets.len();
        let socket = &self.sockets[number % usize::from(SOURCES)];
        socket.send_to(&self.packets[place], self.targets[place % self.targets.len()]).is_ok()
    }
}

struct Active {
    pace: Pace,
    sent: u64,
    unsent: u64,
}

/// The first packet of a connection that nobody goes on with.
fn first_packet(target: &Target, tls: &Arc<rustls::ClientConfig>) -> Option<Vec<u8>> {
    let crypto = QuicClientConfig::try_from(Arc::clone(tls)).ok()?;
    let now = Instant::now();
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
    let config = ClientConfig::new(Arc::new(crypto));
    let (_, mut connection) = endpoint.connect(now, config, target.address, &target.server_name).ok()?;
    let mut packet = Vec::new();
    let sent = connection.poll_transmit(now, 1, &mut packet)?;
    packet.truncate(sent.size);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use millrace_quic::tls;

    use super::*;

    fn stranger() -> Arc<rustls::ClientConfig> {
        let config = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        tls::client(config, &[millrace_proto::ALPN_CLIENT])
    }

    #[test]
    fn each_packet_begins_a_connection_of_its_own() {
        let target =
            Target { address: SocketAddr::from(([127, 0, 0, 1], 7400)), server_name: "localhost".to_owned() };
        let spoofed = Spoofed::new(&[target], &stranger(), 100, Duration::from_millis(100)).unwrap();
        assert_eq!(spoofed.packets.len(), 10);
        // A long header of type Initial, as large as RFC 9000 §14.1 asks for.
        assert!(spoofed.packets.iter().all(|packet| packet[0] & 0xf0 == 0xc0 && packet.len() >= 1_200));
        let ids: std::collections::BTreeSet<_> =
            spoofed.packets.iter().map(|packet| &packet[6..14]).collect();
        assert_eq!(ids.len(), 10, "connection ids differ");
    }
}
