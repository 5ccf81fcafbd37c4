//! A link to nats-server: a lean client that writes batches of PUBs, parses MSGs and checks them,
//! on plain TCP or TLS.
//!
//! Nothing is allocated per event and no byte is copied more often than it must be, so that the
//! server is shown at its best.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::error::{DriveError, SETUP_MAX};
use super::link::{self, Link, TICK};
use super::poll;
use crate::load::{Load, Pattern, Shape};
use crate::server::Server;

/// Bytes that a connection holds for writing before its publisher has to wait.
const OUT_BYTES: usize = 256 * 1024;
/// Bytes that a connection reads at once.
const IN_BYTES: usize = 256 * 1024;
/// With TLS, bytes that a connection reads at once: they and a partial message fit [`IN_BYTES`].
const SEALED_BYTES: usize = 128 * 1024;
/// The queue group of receivers that share the load.
const QUEUE: &str = "workers";
/// What subjects for replies begin with: as long as clients make them.
const INBOX: &str = "_INBOX.oLRkYVnHDkVzVcCnDLkZ2m";
/// What a stream's answers come to, for each publisher.
const ANSWERS: &str = "_INBOX.answers";
/// The stream that takes what is published: in files, as long as a run needs it.
const STREAM: &str = r#"{"name":"LOAD","subjects":["load.>"],"retention":"limits","storage":"file","max_bytes":1073741824,"discard":"old","num_replicas":1}"#;
/// Above so many subjects receivers ask for all with a wildcard.
const SUBJECTS_MAX: u32 = 64;

/// The link.
#[derive(Debug)]
pub(crate) struct NatsLink {
    load: Load,
    publishers: Vec<Connection>,
    receivers: Vec<Connection>,
    /// What stands before the payload, by emitter.
    heads: Vec<Vec<u8>>,
    /// Whether a stream answers each event.
    has_stream: bool,
}

/// One connection, encrypted or not.
#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    tls: Option<Box<rustls::ClientConnection>>,
    /// What was read and is not decrypted, with TLS.
    sealed: Box<[u8]>,
    out: Vec<u8>,
    written: usize,
    /// Bytes `begin..end` are to be parsed.
    buffer: Box<[u8]>,
    begin: usize,
    end: usize,
    pongs: u64,
    /// Events that a stream has answered.
    answered: u64,
}

/// What a connection does with a message.
#[derive(Debug, Clone, Copy)]
enum Duty {
    /// Hands it to the load, as this receiver.
    Deliver(usize),
    /// Sends it back to where it wants to be answered.
    Answer,
    /// Counts it: a stream has an event.
    Count,
}

impl NatsLink {
    /// Connects and subscribes.
    pub(crate) fn connect(server: &Server, shape: Shape) -> Result<Self, DriveError> {
        let is_encrypted = !server.ca_pem.is_empty();
        let tls = if is_encrypted { Some(tls_config(&server.ca_pem)?) } else { None };
        let connect = |_| Connection::open(server, tls.as_ref());
        let subjects: Vec<String> = if shape.emitters > SUBJECTS_MAX {
            vec!["load.*".to_owned()]
        } else {
            (0..shape.emitters).map(|emitter| format!("load.{emitter}")).collect()
        };
        let has_stream = server.has_stream;
        let head = |emitter: u32| {
            let answers =
                if has_stream { format!(" {ANSWERS}.{}", emitter % shape.publishers) } else { String::new() };
            format!("PUB load.{emitter}{answers} {}\r\n", shape.payload_bytes).into_bytes()
        };
        let heads = (0..shape.emitters).map(head).collect();
        let mut link = Self {
            load: Load::new(shape),
            receivers: (0..shape.receivers).map(connect).collect::<Result<_, _>>()?,
            publishers: (0..shape.publishers).map(connect).collect::<Result<_, _>>()?,
            heads,
            has_stream,
        };
        if has_stream {
            link.make_stream()?;
        }
        for receiver in &mut link.receivers {
            let queue = if shape.pattern == Pattern::Group { QUEUE } else { "" };
            for (sid, subject) in subjects.iter().enumerate() {
                receiver.out.extend_from_slice(format!("SUB {subject} {queue} {}\r\n", sid + 1).as_bytes());
            }
            receiver.out.extend_from_slice(b"PING\r\n");
        }
        for (number, publisher) in link.publishers.iter_mut().enumerate() {
            if shape.pattern == Pattern::Request {
                publisher.out.extend_from_slice(format!("SUB {INBOX}.{number}.* 1\r\n").as_bytes());
            }
            publisher.out.extend_from_slice(b"PING\r\n");
        }
        // The answer to the second PING comes behind the subscriptions.
        link::set_up(&mut link, |link| {
            link.receivers.iter().chain(&link.publishers).all(|connection| connection.pongs == 2)
        })?;
        Ok(link)
    }

    /// Has the server make its stream, and publishers hear its answers.
    fn make_stream(&mut self) -> Result<(), DriveError> {
        for (number, publisher) in self.publishers.iter_mut().enumerate() {
            publisher.out.extend_from_slice(format!("SUB {ANSWERS}.{number} 9\r\n").as_bytes());
            if number == 0 {
                let head = format!("PUB $JS.API.STREAM.CREATE.LOAD {ANSWERS}.0 {}\r\n", STREAM.len());
                publisher.out.extend_from_slice(head.as_bytes());
                publisher.out.extend_from_slice(STREAM.as_bytes());
                publisher.out.extend_from_slice(b"\r\n");
            }
        }
        link::set_up(self, |link| link.publishers.first().is_none_or(|publisher| publisher.answered == 1))?;
        self.publishers.iter_mut().for_each(|publisher| publisher.answered = 0);
        Ok(())
    }

    /// Events that may be published now: of a stream, at most a window is without an answer.
    fn budget(&self, now: Instant) -> u64 {
        let budget = self.load.budget(now);
        if !self.has_stream {
            return budget;
        }
        let answered: u64 = self.publishers.iter().map(|publisher| publisher.answered).sum();
        let waiting = self.load.published().saturating_sub(answered);
        budget.min(self.load.shape().window.saturating_sub(waiting))
    }

    fn publish(&mut self, now: Instant) {
        for _ in 0..self.budget(now) {
            let emitter = self.load.next(now).0;
            let publisher = self.load.publisher_of(emitter);
            let out = &mut self.publishers[publisher].out;
            if out.len() > OUT_BYTES {
                break;
            }
            if self.load.shape().pattern == Pattern::Request {
                let (request, bytes) = (self.load.published(), self.load.shape().payload_bytes);
                // Writing to memory does not fail.
                let _ = write!(out, "PUB load.{emitter} {INBOX}.{publisher}.{request} {bytes}\r\n");
            } else {
                out.extend_from_slice(&self.heads[emitter]);
            }
            out.extend_from_slice(self.load.written());
            out.extend_from_slice(b"\r\n");
            self.load.taken();
        }
    }

    fn wait(&self, longest: Duration) {
        let mut wanted: Vec<_> = self
            .publishers
            .iter()
            .chain(&self.receivers)
            .map(|connection| poll::wanted(connection.socket.as_raw_fd(), connection.has_output()))
            .collect();
        poll::wait(&mut wanted, longest);
    }
}

impl Link for NatsLink {
    fn with_load(&mut self, f: &mut dyn FnMut(&mut Load)) {
        f(&mut self.load);
    }

    fn turn(&mut self, wait: Duration) -> Result<(), DriveError> {
        self.publish(Instant::now());
        let mut moved = false;
        for connection in self.publishers.iter_mut().chain(&mut self.receivers) {
            moved |= connection.flush()?;
        }
        let is_asked = self.load.shape().pattern == Pattern::Request;
        for (number, receiver) in self.receivers.iter_mut().enumerate() {
            let duty = if is_asked { Duty::Answer } else { Duty::Deliver(number) };
            moved |= receiver.read(duty, &mut self.load)?;
        }
        let of_publisher = if self.has_stream { Duty::Count } else { Duty::Deliver(0) };
        if is_asked || self.has_stream {
            for publisher in &mut self.publishers {
                moved |= publisher.read(of_publisher, &mut self.load)?;
            }
        }
        if !moved {
            self.wait(if self.load.is_open() { wait.min(TICK) } else { wait });
            for publisher in &mut self.publishers {
                publisher.read(of_publisher, &mut self.load)?;
            }
        }
        Ok(())
    }
}

fn tls_config(ca_pem: &str) -> Result<Arc<rustls::ClientConfig>, DriveError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.map_err(|error| DriveError::Peer(error.to_string()))?)?;
    }
    let config = rustls::ClientConfig::builder_with_provider(millrace_quic::tls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Connection {
    /// Connects, takes the greeting, begins TLS if wanted, and says hello.
    fn open(server: &Server, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<Self, DriveError> {
        let mut socket = TcpStream::connect(server.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SETUP_MAX))?;
        let mut greeting = Vec::new();
        let mut byte = [0];
        while !greeting.ends_with(b"\n") {
            socket.read_exact(&mut byte)?;
            greeting.push(byte[0]);
        }
        if !greeting.starts_with(b"INFO ") {
            return Err(DriveError::Peer(String::from_utf8_lossy(&greeting).into_owned()));
        }
        socket.set_nonblocking(true)?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let name =
                    ServerName::try_from("localhost").map_err(|error| DriveError::Peer(error.to_string()))?;
                let mut connection = rustls::ClientConnection::new(Arc::clone(config), name)?;
                connection.set_buffer_limit(None);
                Some(Box::new(connection))
            }
        };
        let hello =
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}\r\nPING\r\n";
        Ok(Self {
            socket,
            tls,
            sealed: vec![0; SEALED_BYTES].into_boxed_slice(),
            out: hello.to_vec(),
            written: 0,
            buffer: vec![0; IN_BYTES].into_boxed_slice(),
            begin: 0,
            end: 0,
            pongs: 0,
            answered: 0,
        })
    }

    fn has_output(&self) -> bool {
        !self.out.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what the socket takes; whether it took anything.
    fn flush(&mut self) -> Result<bool, DriveError> {
        let Some(tls) = &mut self.tls else {
            if self.out.is_empty() {
                return Ok(false);
            }
            let Some(taken) = unblocked(self.socket.write(&self.out[self.written..]))? else {
                return Ok(false);
            };
            self.written += taken;
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
            }
            return Ok(true);
        };
        // Records are made when the socket has taken those before.
        if !tls.is_handshaking() && !tls.wants_write() && !self.out.is_empty() {
            tls.writer().write_all(&self.out)?;
            self.out.clear();
        }
        let mut moved = false;
        while tls.wants_write() {
            if unblocked(tls.write_tls(&mut self.socket))?.is_none() {
                break;
            }
            moved = true;
        }
        Ok(moved)
    }

    /// Reads once and parses; whether there was anything.
    fn read(&mut self, duty: Duty, load: &mut Load) -> Result<bool, DriveError> {
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let taken = match &mut self.tls {
            None => unblocked(self.socket.read(&mut self.buffer[self.end..]))?,
            Some(_) => unblocked(self.socket.read(&mut self.sealed))?,
        };
        match taken {
            None => return Ok(false),
            Some(0) => return Err(DriveError::Peer("nats-server closed the connection".into())),
            Some(bytes) if self.tls.is_some() => self.unseal(bytes)?,
            Some(bytes) => self.end += bytes,
        }
        let now_ns = load.ns(Instant::now());
        self.parse(duty, load, now_ns)?;
        Ok(true)
    }

    /// Decrypts what was read. rustls takes 4 KiB at a time, which is why it does not read from the
    /// socket itself.
    fn unseal(&mut self, bytes: usize) -> Result<(), DriveError> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut sealed = &self.sealed[..bytes];
        while !sealed.is_empty() {
            tls.read_tls(&mut sealed)?;
            tls.process_new_packets()?;
            while let Some(plain) = unblocked(tls.reader().read(&mut self.buffer[self.end..]))? {
                self.end += plain;
                if plain == 0 {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn parse(&mut self, duty: Duty, load: &mut Load, now_ns: u64) -> Result<(), DriveError> {
        loop {
            let bytes = &self.buffer[self.begin..self.end];
            let Some(line_end) = bytes.iter().position(|&byte| byte == b'\n') else { return Ok(()) };
            let line = bytes[..line_end].trim_ascii_end();
            let mut used = line_end + 1;
            if line.starts_with(b"MSG ") {
                let length = line
                    .iter()
                    .rev()
                    .take_while(|byte| byte.is_ascii_digit())
                    .fold((0usize, 1usize), |(sum, unit), digit| {
                        (sum + unit * usize::from(digit - b'0'), unit.saturating_mul(10))
                    })
                    .0;
                let Some(payload) = bytes.get(used..used + length + 2) else { return Ok(()) };
                match duty {
                    Duty::Deliver(receiver) => load.deliver(receiver, &payload[..length], now_ns),
                    Duty::Answer => answer(&mut self.out, line, payload),
                    Duty::Count if is_refusal(payload) => {
                        return Err(DriveError::Peer(String::from_utf8_lossy(payload).into_owned()));
                    }
                    Duty::Count => self.answered += 1,
                }
                used += length + 2;
            } else if line == b"PING" {
                self.out.extend_from_slice(b"PONG\r\n");
            } else if line == b"PONG" {
                self.pongs += 1;
            } else if line.starts_with(b"-ERR") {
                return Err(DriveError::Peer(format!("nats-server: {}", String::from_utf8_lossy(line))));
            }
            self.begin += used;
        }
    }
}

/// Whether a stream's answer says that it did not take an event.
fn is_refusal(answer: &[u8]) -> bool {
    answer.windows(8).any(|window| window == b"\"error\":")
}

/// Writes the answer to a message, which is its payload and the end of its line.
fn answer(out: &mut Vec<u8>, line: &[u8], payload: &[u8]) {
    // MSG, subject, subscription, where to answer, bytes.
    let mut words = line.split(|&byte| byte == b' ').skip(3);
    if let (Some(to), Some(bytes)) = (words.next(), words.next()) {
        for piece in [&b"PUB "[..], to, b" ", bytes, b"\r\n", payload] {
            out.extend_from_slice(piece);
        }
    }
}

/// `None` where nothing could be moved at this moment.
fn unblocked(result: io::Result<usize>) -> Result<Option<usize>, DriveError> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
