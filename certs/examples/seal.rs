//! What sealing and opening a packet costs, by ring and by aws-lc, on this processor.
//!
//! `cargo run --release -p millrace-certs --example seal`
//!
//! Both libraries take turns, and each line has the least and the median of all rounds: so a busy
//! host is seen as a median far above the least, and does not decide. A packet is sealed or opened
//! as QUIC does it, with its header: AES-128-GCM and AES-128. docs/adr/0010 has the decision.

#![allow(clippy::print_stdout, reason = "what it found is all that it does")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on should stop")]

use std::hint::black_box;
use std::time::Instant;

use rustls::SupportedCipherSuite;
use rustls::crypto::{aws_lc_rs, ring};
use rustls::quic::{Keys, Version};
use rustls::{Side, quic};

/// Payloads: a lone event's acknowledgement, a lone event, a usual packet, a jumbo frame's.
const SIZES: [usize; 4] = [30, 150, 1_400, 8_900];
const ROUNDS: usize = 300;
const PACKETS: usize = 500;
/// First byte, connection id, packet number.
const HEADER: [u8; 13] = [0x43, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 7];
const TAG_BYTES: usize = 16;

/// One library's keys of both sides.
struct Library {
    name: &'static str,
    client: Keys,
    server: Keys,
}

impl Library {
    fn new(name: &'static str, suite: SupportedCipherSuite) -> Self {
        let suite = suite.tls13().unwrap();
        let algorithm = suite.quic.unwrap();
        let keys = |side| Keys::initial(Version::V1, suite, algorithm, &[7; 8], side);
        Self { name, client: keys(Side::Client), server: keys(Side::Server) }
    }
}

/// The header's part: a mask from a sample of the packet.
fn protect(key: &dyn quic::HeaderProtectionKey, packet: &[u8], header: &mut [u8]) {
    let (first, number) = header.split_first_mut().unwrap();
    let at = number.len() - 4;
    key.encrypt_in_place(&packet[..key.sample_len()], first, &mut number[at..]).unwrap();
}

/// Nanoseconds that it takes to seal a packet, and to open it.
fn round(library: &Library, size: usize) -> [f64; 2] {
    let (local, remote) = (&library.client.local, &library.server.remote);
    let mut packet = vec![0x5a; size + TAG_BYTES];
    let begun = Instant::now();
    for number in 0..PACKETS as u64 {
        let mut header = HEADER;
        let tag = local.packet.encrypt_in_place(number, &HEADER, &mut packet[..size]).unwrap();
        packet[size..].copy_from_slice(tag.as_ref());
        protect(&*local.header, &packet, &mut header);
        black_box(&header);
    }
    let sealed = begun.elapsed();
    // The last one is opened again and again: opening spoils it, and the copy is counted for both.
    let (last, number) = (packet.clone(), PACKETS as u64 - 1);
    let begun = Instant::now();
    for _ in 0..PACKETS {
        let mut header = HEADER;
        packet.copy_from_slice(&last);
        protect(&*remote.header, &packet, &mut header);
        black_box(&header);
        black_box(remote.packet.decrypt_in_place(number, &HEADER, &mut packet).unwrap().len());
    }
    [sealed, begun.elapsed()].map(|time| time.as_nanos() as f64 / PACKETS as f64)
}

fn main() {
    let libraries = [
        Library::new("ring", ring::cipher_suite::TLS13_AES_128_GCM_SHA256),
        Library::new("aws-lc", aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256),
    ];
    #[cfg(target_arch = "x86_64")]
    println!(
        "vaes {}, avx512bw {}",
        std::is_x86_feature_detected!("vaes"),
        std::is_x86_feature_detected!("avx512bw")
    );
    println!("{:>6} {:>7}  {:>18}  {:>18}", "bytes", "", "seal: least median", "open: least median");
    for size in SIZES {
        let mut rounds = libraries.each_ref().map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (library, rounds) in libraries.iter().zip(&mut rounds) {
                rounds.push(round(library, size));
            }
        }
        for (library, rounds) in libraries.iter().zip(rounds) {
            let [seal, open] = [0, 1].map(|what| {
                let mut times: Vec<f64> = rounds.iter().map(|times| times[what]).collect();
                times.sort_by(f64::total_cmp);
                format!("{:>7.0} {:>7.0} ns", times[0], times[ROUNDS / 2])
            });
            println!("{size:>6} {:>7}  {seal}  {open}", library.name);
        }
    }
}
