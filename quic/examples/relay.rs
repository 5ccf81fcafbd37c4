//! Figures of the loop on one machine: a bulk relay, and many connections with a lone packet each.
//!
//! ```text
//! cargo run --release -p millrace-quic --example relay -- bulk RECEIVERS EVENT_BYTES SECONDS [SEGMENTS]
//! cargo run --release -p millrace-quic --example relay -- lone CONNECTIONS PERIOD_MS BYTES SECONDS
//! ```
//!
//! `bulk`: one publisher writes 16 KiB buffers, a router core copies them and writes each to every
//! receiver; publisher and receivers share a second core. `lone`: each connection sends one small
//! message per period. CPU is that of the router's thread alone, memory is of both sides.
#![expect(clippy::print_stdout, reason = "prints its figures")]
#![expect(clippy::unwrap_used, reason = "a measurement has nobody to recover for")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use millrace_quic::{
    Admission, App, ClientSettings, CloseReason, ConnId, ConnectedInfo, Core, CoreSettings, Dial, Io, Keys,
    ReadState, ServerSettings, SocketId, StreamId, TransportSettings, steer, tls,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Size of what is written at once.
const BUFFER_BYTES: usize = 16 << 10;
/// The router reads on while its slowest receiver has less than this waiting.
const QUEUE_BYTES: usize = 4 << 20;

/// Nanoseconds of CPU that the calling thread has used.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

fn resident_bytes() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/statm").unwrap();
    stat.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

struct Receiver {
    conn: ConnId,
    stream: StreamId,
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
}

impl Receiver {
    fn pump(&mut self, io: &mut Io<'_>) {
        if self.queue.is_empty() {
            return;
        }
        self.queued_bytes -= io.write(self.conn, self.stream, self.queue.make_contiguous()).unwrap_or(0);
        while self.queue.front().is_some_and(Bytes::is_empty) {
            self.queue.pop_front();
        }
    }
}

/// The router: relays one stream to the first connections, or only counts.
struct Router {
    receivers_max: usize,
    receivers: Vec<Receiver>,
    source: Option<(ConnId, StreamId)>,
    is_dry: bool,
    gathered: BytesMut,
    connected: Arc<AtomicU64>,
    messages: u64,
}

impl App for Router {
    fn connected(&mut self, io: &mut Io<'_>, conn: ConnId, _: &ConnectedInfo) {
        self.connected.fetch_add(1, Ordering::Relaxed);
        if self.receivers.len() < self.receivers_max {
            let stream = io.open_uni(conn).unwrap();
            self.receivers.push(Receiver { conn, stream, queue: VecDeque::new(), queued_bytes: 0 });
        }
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        self.source = Some((conn, stream));
    }

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        if self.receivers_max == 0 {
            io.read(conn, stream, usize::MAX, &mut |_| self.messages += 1);
        } else {
            self.is_dry = false;
        }
    }

    fn writable(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}
    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, _: u64) {}
    fn streams_available(&mut self, _: &mut Io<'_>, _: ConnId, _: bool) {}
    fn closed(&mut self, _: &mut Io<'_>, _: ConnId, _: &CloseReason) {}

    fn turn(&mut self, io: &mut Io<'_>) {
        let room = self.receivers.iter().all(|receiver| receiver.queued_bytes < QUEUE_BYTES);
        if let Some((conn, stream)) = self.source.filter(|_| room && !self.is_dry) {
            let outcome = io.read(conn, stream, 1 << 20, &mut |piece| self.gathered.extend_from_slice(piece));
            self.is_dry = outcome.state != ReadState::More;
        }
        while self.gathered.len() >= BUFFER_BYTES {
            let buffer = self.gathered.split_to(BUFFER_BYTES).freeze();
            for receiver in &mut self.receivers {
                receiver.queue.push_back(buffer.clone());
                receiver.queued_bytes += buffer.len();
            }
        }
        self.receivers.iter_mut().for_each(|receiver| receiver.pump(io));
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// The clients: the last one publishes if told so, all count what they receive.
#[derive(Default)]
struct Clients {
    connected: Vec<ConnId>,
    source: Option<(ConnId, StreamId)>,
    sent_bytes: u64,
    received_bytes: u64,
}

impl Clients {
    fn publish(&mut self, io: &mut Io<'_>) {
        let Some((conn, stream)) = self.source else { return };
        let chunk = Bytes::from_static(&[7; BUFFER_BYTES]);
        for _ in 0..64 {
            let taken = io.write(conn, stream, &mut [chunk.clone()]).unwrap();
            self.sent_bytes += taken as u64;
            if taken < chunk.len() {
                return;
            }
        }
    }
}

impl App for Clients {
    fn connected(&mut self, _: &mut Io<'_>, conn: ConnId, _: &ConnectedInfo) {
        self.connected.push(conn);
    }

    fn stream_opened(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}

    fn readable(&mut self, io: &mut Io<'_>, conn: ConnId, stream: StreamId) {
        let outcome = io.read(conn, stream, usize::MAX, &mut |_| {});
        self.received_bytes += outcome.bytes as u64;
    }

    fn writable(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId) {}
    fn stream_stopped(&mut self, _: &mut Io<'_>, _: ConnId, _: StreamId, _: u64) {}
    fn streams_available(&mut self, _: &mut Io<'_>, _: ConnId, _: bool) {}

    fn closed(&mut self, _: &mut Io<'_>, conn: ConnId, reason: &CloseReason) {
        panic!("{conn:?}: {reason}");
    }

    fn turn(&mut self, io: &mut Io<'_>) {
        self.publish(io);
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

struct Setup {
    addr: SocketAddr,
    client: Arc<ClientSettings>,
    connected: Arc<AtomicU64>,
    measuring: Arc<AtomicBool>,
    router: std::thread::JoinHandle<()>,
}

fn setup(receivers_max: usize, segments: usize, transport: TransportSettings) -> Setup {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let versions = &[&rustls::version::TLS13];
    let server = rustls::ServerConfig::builder_with_provider(tls::crypto_provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let admission = Admission { handshakes_per_second: 1_000_000, burst: 4_000_000 };
    let settings = ServerSettings {
        admission,
        ..ServerSettings::new(tls::server(server, &[b"x"]), transport.clone(), Keys::random())
    };
    let client = Arc::new(ClientSettings::new(tls::client(client, &[b"x"]), transport).unwrap());
    let mut group = steer::bind_group("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let (addr, shared) = (group.addr, group.sockets.pop());
    let connected = Arc::new(AtomicU64::new(0));
    let measuring = Arc::new(AtomicBool::new(false));
    let (count, flag) = (connected.clone(), measuring.clone());
    let router = std::thread::Builder::new().name("router".into()).spawn(move || {
        let app = Router {
            receivers_max,
            receivers: Vec::new(),
            source: None,
            is_dry: true,
            gathered: BytesMut::new(),
            connected: count,
            messages: 0,
        };
        let core = CoreSettings { gso_segments: segments, ..CoreSettings::default() };
        let mut core = Core::new(core, Some(settings), shared, app).unwrap();
        while !flag.load(Ordering::Relaxed) {
            core.turn(Duration::from_millis(10));
        }
        measure_router(&mut core, &flag);
    });
    let router = router.unwrap();
    Setup { addr, client, connected, measuring, router }
}

fn measure_router(core: &mut Core<Router>, flag: &AtomicBool) {
    let (begun, cpu, before, messages) =
        (Instant::now(), cpu_ns(), core.metrics().clone(), core.app().messages);
    while flag.load(Ordering::Relaxed) {
        core.turn(Duration::from_millis(10));
    }
    let (seconds, used, now) = (begun.elapsed().as_secs_f64(), cpu_ns() - cpu, core.metrics());
    let per_second = |after: u64, before: u64| (after - before) as f64 / seconds;
    println!(
        "router: cpu {:.0} %, turns {:.0}/s, datagrams in {:.0}/s out {:.0}/s, calls in {:.0}/s out {:.0}/s",
        used as f64 / seconds / 1e7,
        per_second(now.turns, before.turns),
        per_second(now.datagrams_in, before.datagrams_in),
        per_second(now.datagrams_out, before.datagrams_out),
        per_second(now.receive_calls, before.receive_calls),
        per_second(now.send_calls, before.send_calls),
    );
    let messages = core.app().messages - messages;
    if messages > 0 {
        println!(
            "router: {:.0} messages/s, {:.2} us of CPU each",
            messages as f64 / seconds,
            used as f64 / messages as f64 / 1e3
        );
    }
    println!(
        "router: packets lost {}, kernel drops {}, {:?}",
        core.packets_lost(),
        core.kernel_drops(),
        now.drops
    );
}

fn dial(io: &mut Io<'_>, setup: &Setup, via: SocketId) {
    let dial = Dial {
        remote: setup.addr,
        server_name: "localhost".into(),
        client: setup.client.clone(),
        via,
        shard: None,
    };
    io.connect(&dial).unwrap();
}

fn bulk(receivers: usize, event_bytes: f64, seconds: f64, segments: usize) {
    let transport = TransportSettings { mtu_upper_bound: Some(1452), ..TransportSettings::lane() };
    let setup = setup(receivers, segments, transport);
    let core = CoreSettings { gso_segments: segments, ..CoreSettings::default() };
    let mut core = Core::new(core, None, None, Clients::default()).unwrap();
    for number in 0..=receivers {
        // Each from its own port, as lanes and clients do.
        core.with_io(|_, io| {
            let via = io.add_socket("127.0.0.1:0".parse().unwrap()).unwrap();
            dial(io, &setup, via);
        });
        while setup.connected.load(Ordering::Relaxed) <= number as u64 || core.app().connected.len() <= number
        {
            core.turn(Duration::from_millis(1));
        }
    }
    let publisher = *core.app().connected.last().unwrap();
    core.with_io(|app, io| app.source = Some((publisher, io.open_uni(publisher).unwrap())));
    let warm = Instant::now();
    while warm.elapsed().as_secs_f64() < 1.0 {
        core.turn(Duration::from_millis(1));
    }
    setup.measuring.store(true, Ordering::Relaxed);
    let (begun, cpu) = (Instant::now(), cpu_ns());
    let (sent, received) = (core.app().sent_bytes, core.app().received_bytes);
    while begun.elapsed().as_secs_f64() < seconds {
        core.turn(Duration::from_millis(1));
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let rate = |bytes: u64| bytes as f64 / event_bytes / elapsed / 1e6;
    println!(
        "in {:.2} M/s, out {:.2} M/s of {event_bytes} B to {receivers} receivers; clients' cpu {:.0} %",
        rate(core.app().sent_bytes - sent),
        rate(core.app().received_bytes - received),
        (cpu_ns() - cpu) as f64 / elapsed / 1e7
    );
    setup.measuring.store(false, Ordering::Relaxed);
    setup.router.join().unwrap();
}

fn lone(connections: usize, period: Duration, bytes: usize, seconds: f64) {
    let transport = TransportSettings {
        uni_streams: 4,
        bidi_streams: 1,
        ack_threshold: Some(50),
        keep_alive: None,
        ..TransportSettings::lone_emitters()
    };
    let setup = setup(0, 45, transport);
    let mut core = Core::new(CoreSettings::default(), None, None, Clients::default()).unwrap();
    let local = "127.0.0.1:0".parse().unwrap();
    let sockets: Vec<_> =
        core.with_io(|_, io| (0..256.min(connections)).map(|_| io.add_socket(local).unwrap()).collect());
    let (before, begun, mut dialled) = (resident_bytes(), Instant::now(), 0);
    while core.app().connected.len() < connections {
        let open = core.app().connected.len();
        core.with_io(|_, io| {
            while dialled < connections.min(open + 100) {
                dial(io, &setup, sockets[dialled % sockets.len()]);
                dialled += 1;
            }
        });
        core.turn(Duration::from_millis(1));
    }
    let per_connection = |now: u64| (now - before) as f64 / connections as f64 / 1024.0;
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{connections} connections in {took:.2} s, {:.1} KB each, both sides",
        per_connection(resident_bytes())
    );
    let conns = core.app().connected.clone();
    let streams: Vec<_> =
        core.with_io(|_, io| conns.iter().map(|conn| io.open_uni(*conn).unwrap()).collect());
    let rate = connections as f64 / period.as_secs_f64();
    let message = Bytes::from(vec![7; bytes]);
    setup.measuring.store(true, Ordering::Relaxed);
    let (begun, cpu, mut sent) = (Instant::now(), cpu_ns(), 0);
    while begun.elapsed().as_secs_f64() < seconds {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts, small and positive"
        )]
        let due = (begun.elapsed().as_secs_f64() * rate) as usize;
        core.with_io(|_, io| {
            let until = due.min(sent + 2_000);
            while sent < until {
                let at = sent % connections;
                io.write(conns[at], streams[at], &mut [message.clone()]).unwrap();
                sent += 1;
            }
        });
        core.turn(Duration::from_micros(500));
    }
    let elapsed = begun.elapsed().as_secs_f64();
    println!(
        "sent {:.0}/s of {rate:.0}/s, clients' cpu {:.0} %, {:.1} KB per connection, both sides",
        sent as f64 / elapsed,
        (cpu_ns() - cpu) as f64 / elapsed / 1e7,
        per_connection(resident_bytes())
    );
    setup.measuring.store(false, Ordering::Relaxed);
    setup.router.join().unwrap();
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: f64| args.get(at).map_or(default, |arg| arg.parse().unwrap());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, small and positive")]
    let count = |at: usize, default: f64| number(at, default) as usize;
    match args.first().map(String::as_str) {
        Some("bulk") => bulk(count(1, 1.0), number(2, 128.0), number(3, 5.0), count(4, 45.0)),
        Some("lone") => {
            let period = Duration::from_secs_f64(number(2, 100.0) / 1e3);
            lone(count(1, 10_000.0), period, count(3, 128.0), number(4, 5.0));
        }
        _ => println!(
            "usage: relay bulk RECEIVERS EVENT_BYTES SECONDS [SEGMENTS] | lone CONNECTIONS PERIOD_MS BYTES SECONDS"
        ),
    }
}
