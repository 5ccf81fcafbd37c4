//! How fast messages pass from one connection to another, whatever server that is: the client is
//! the same, so that two servers can be compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::{interval, timeout};

use crate::{LONG, connect, settled};

/// Bytes of a message.
const PAYLOAD_BYTES: usize = 128;
/// Messages under way.
const WINDOW: usize = 500;
/// Latency is measured with one message each.
const EVERY: Duration = Duration::from_millis(1);

/// Prints one line of JSON: messages a second, and latencies of single ones.
pub(crate) async fn print(url: &str, seconds: f64) -> Result<()> {
    let (sender, receiver) = (connect(url).await?, connect(url).await?);
    let mut heard = receiver.subscribe("figures").await?;
    settled(&receiver).await?;
    let within = Duration::from_secs_f64(seconds);
    let (sent, received, per_s) = throughput(&sender, &mut heard, within).await.context("throughput")?;
    let (p50, p99) = latency(&sender, &mut heard, within).await.context("latency")?;
    println!(
        "{{\"sent\":{sent},\"heard\":{received},\"per_s\":{per_s:.0},\"p50_ms\":{p50:.3},\"p99_ms\":{p99:.3}}}"
    );
    ensure!(sent == received, "messages are missing");
    Ok(())
}

async fn throughput(sender: &Client, heard: &mut Subscriber, within: Duration) -> Result<(u64, u64, f64)> {
    let room = Arc::new(Semaphore::new(WINDOW));
    let began = Instant::now();
    let publishing = {
        let (sender, room) = (sender.clone(), room.clone());
        tokio::spawn(async move {
            let (payload, mut sent) = (Bytes::from(vec![b'x'; PAYLOAD_BYTES]), 0_u64);
            while began.elapsed() < within {
                room.acquire().await?.forget();
                sender.publish("figures", payload.clone()).await?;
                sent += 1;
            }
            anyhow::Ok(sent)
        })
    };
    let (mut received, mut in_time, mut took) = (0_u64, 0_u64, within);
    let mut sent = None;
    tokio::pin!(publishing);
    loop {
        tokio::select! {
            message = timeout(LONG, heard.next()) => {
                message.context("no message comes any more")?.context("the subscription has ended")?;
                received += 1;
                room.add_permits(1);
                if sent.is_none() {
                    (in_time, took) = (received, began.elapsed());
                }
            }
            ended = &mut publishing, if sent.is_none() => sent = Some(ended??),
        }
        if sent == Some(received) {
            break;
        }
    }
    Ok((sent.unwrap_or_default(), received, in_time as f64 / took.as_secs_f64()))
}

async fn latency(sender: &Client, heard: &mut Subscriber, within: Duration) -> Result<(f64, f64)> {
    let (mut latencies, mut tick, began) = (Vec::new(), interval(EVERY), Instant::now());
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    while began.elapsed() < within {
        tick.tick().await;
        let since = Instant::now();
        sender.publish("figures", payload.clone()).await?;
        timeout(LONG, heard.next())
            .await
            .context("no message came")?
            .context("the subscription has ended")?;
        latencies.push(since.elapsed().as_secs_f64() * 1e3);
    }
    latencies.sort_by(f64::total_cmp);
    ensure!(!latencies.is_empty(), "no message at all");
    let at = |share: usize| latencies[(latencies.len() * share / 100).min(latencies.len() - 1)];
    Ok((at(50), at(99)))
}
