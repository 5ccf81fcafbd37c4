//! Publishes and receives on one connection, and shows what happens when the router goes away: stop
//! it and start it again while this runs.
//!
//! ```sh
//! millrace-router                                     # in another terminal, again and again
//! cargo run -p millrace-client --example reconnect
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it sees")]

use std::time::Duration;

use millrace_client::{Change, Client, Config, Item, PublisherOptions, ReceiverOptions, TagSet};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The first connect waits for a router instead of failing.
    let config = Config::from_env()?.connect_within(Duration::from_secs(60));
    let client = Client::new(config)?;

    let mut changes = client.changes();
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            match change {
                Change::Attached { address, away, .. } => println!("attached to {address} after {away:?}"),
                Change::Lost { reason } => println!("lost: {reason}"),
                Change::Trouble { reason, .. } => println!("no router yet: {reason}"),
                other => println!("{other:?}"),
            }
        }
    });

    let mut stream = client.subscribe(["example=reconnect"], ReceiverOptions::default()).await?;
    tokio::spawn(async move {
        while let Some(item) = stream.next().await {
            match item {
                Item::Event(event) => println!("received {}", String::from_utf8_lossy(&event.payload)),
                // Also what the publisher sends before the router has the subscription again.
                Item::Gap(gap) => println!("events may be missing here: {}", gap.reason.name()),
                _ => {}
            }
        }
    });

    // What was on its way when a connection is lost goes out again, in place of being unknown.
    let options = PublisherOptions::default().resend(true);
    let publisher = client.publisher(options).await?;
    let tags: TagSet = "example=reconnect".parse()?;
    for number in 1u64.. {
        publisher.publish(&tags, number.to_string()).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
