//! Prints the events that match selectors, and says where some are missing.
//!
//! ```sh
//! millrace-router &                                   # dev mode: on this host, its own authority
//! cargo run -p millrace-client --example subscribe -- 'service=web,severity!=debug'
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it sees")]

use millrace_client::{Client, Config, Item, ReceiverOptions};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut selectors: Vec<String> = std::env::args().skip(1).collect();
    if selectors.is_empty() {
        selectors.push("*".to_owned());
    }
    let client = Client::new(Config::from_env()?)?;
    let mut receiver = client.receiver(ReceiverOptions::default()).await?;
    // An event that matches several selectors comes once.
    let mut subscription = receiver.subscribe(&selectors)?;

    // Another task may wait for the acknowledgement, while this one reads.
    tokio::spawn(async move {
        match subscription.in_cluster().await {
            Ok(coverage) if coverage.is_whole() => eprintln!("subscribed at every router"),
            Ok(coverage) => eprintln!("subscribed, but not at {:?}", coverage.left_out),
            Err(error) => eprintln!("not subscribed: {error}"),
        }
    });
    while let Some(item) = receiver.next().await {
        match item {
            Item::Event(event) => {
                println!("{}: {}", event.tags, String::from_utf8_lossy(&event.payload));
            }
            // The receiver was too slow, or its session was lost.
            Item::Gap(gap) => eprintln!("events are missing here: {}", gap.reason.name()),
            _ => {}
        }
    }
    // Only a router that refuses the receiver ends it.
    match receiver.refused() {
        Some(refused) => Err(refused.into()),
        None => Ok(()),
    }
}
