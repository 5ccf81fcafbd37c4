//! The program of a member's process: it has the numbers of a stream at their rate, as every member
//! does, and publishes, keeps or passes them over, as the library says. It may be killed at any
//! instant.
//!
//! The run says `stop NUMBER` on its standard input: it ends behind this number.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millrace_client::{Client, Config, PublisherOptions, RouterAddress, StandbyOptions, TagSet, Trust};
use millrace_verify::payload::Stamp;

use super::said::Said;
use super::settings::{SET, TAG};
use crate::child::end_with_run;
use crate::clock::Clock;

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// Bytes of each payload.
const PAYLOAD_BYTES: usize = 64;
/// What a publisher queues: what a takeover sends at once.
const BUFFER_BYTES: usize = 16 << 20;
/// A takeover needs what came in this long, and what receivers remove repeats by is as long.
const WINDOW_S: f64 = 3.2;
/// Bounds of the window, in events.
const WINDOW_EVENTS: [u64; 2] = [4_096, 65_536];
/// Bytes of the window for each event.
const WINDOW_BYTES_PER_EVENT: usize = 256;
/// Longest pause between attempts to reconnect.
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// How long routers may take to welcome it.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What a member's process is told.
#[derive(Debug, Clone)]
pub struct MemberPart {
    /// Where routers are reached.
    pub routers: Vec<SocketAddr>,
    /// The authority of its router's certificate, PEM.
    pub ca: PathBuf,
    /// Its rank, from 1.
    pub rank: u8,
    /// Numbers per second.
    pub rate: u64,
    /// When number 0 was due, microseconds since 1970.
    pub epoch_us: u64,
}

/// Takes part until it is told where to stop.
///
/// # Errors
/// What keeps it from publishing.
pub fn take_part(part: &MemberPart) -> anyhow::Result<()> {
    end_with_run();
    let stop = Arc::new(AtomicU64::new(u64::MAX));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("stop ").and_then(|number| number.parse().ok()) {
                told.store(number, Ordering::Relaxed);
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(publish(part, &stop))
}

async fn publish(part: &MemberPart, stop: &AtomicU64) -> anyhow::Result<()> {
    let clock = Clock::since(part.epoch_us);
    let routers = part.routers.iter().map(|router| router.to_string().parse::<RouterAddress>());
    let config = Config::new(routers.collect::<Result<Vec<_>, _>>()?)
        .trust(Trust::File(part.ca.clone()))
        .backoff_max(BACKOFF_MAX)
        .connect_within(CONNECT_WITHIN);
    let client = Client::new(config)?;
    let [least, most] = WINDOW_EVENTS;
    let events = millrace_measure::figures::whole(part.rate as f64 * WINDOW_S).clamp(least, most);
    let events = usize::try_from(events).unwrap_or(usize::MAX);
    let standby = StandbyOptions::new(SET)
        .rank(part.rank)
        .window(events, events * WINDOW_BYTES_PER_EVENT)
        .on_standby(|state| {
            if let Some(said) = Said::of(state) {
                say(said);
            }
        });
    let options = PublisherOptions::default().standby(standby).buffer_bytes(BUFFER_BYTES);
    let publisher = client.publisher(options).await?;
    let handle = publisher.register(&TagSet::from_texts([TAG])?)?;
    // As one who follows a file from its end: the first number is the one that is due.
    let mut next = due(part, clock);
    say(Said::Begins(next));
    let mut payload = [b'.'; PAYLOAD_BYTES];
    while next <= stop.load(Ordering::Relaxed) {
        let last = due(part, clock).min(stop.load(Ordering::Relaxed));
        while next <= last {
            Stamp { emitter: 0, n: next, scheduled_ns: 0 }.stamp_again(&mut payload)?;
            publisher.publish_numbered(handle, next, payload).await?;
            next += 1;
        }
        tokio::time::sleep(TICK).await;
    }
    publisher.close().await;
    say(Said::Ended(next));
    Ok(())
}

/// The number that is due.
fn due(part: &MemberPart, clock: Clock) -> u64 {
    millrace_measure::figures::whole(clock.now_us() as f64 / 1e6 * part.rate as f64)
}

fn say(said: Said) {
    let mut out = io::stdout().lock();
    // The run has gone away when nobody listens, and this process with it.
    let _ = writeln!(out, "{said}").and_then(|()| out.flush());
}
