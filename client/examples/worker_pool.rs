//! A worker of a pool: events of a group, one at a time, each done before it is acknowledged.
//!
//! Start as many as you like. Each event goes to one of them. What a worker had not finished when
//! it was killed goes to another one, marked as a possible duplicate:
//!
//! ```sh
//! millrace-router &                                          # dev mode: on this host, its own authority
//! cargo run -p millrace-client --example worker_pool -- jobs 'type=resize' &
//! cargo run -p millrace-client --example worker_pool -- jobs 'type=resize' &
//! millrace pub --tag type=resize cat.png dog.png
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use millrace_client::{Acknowledge, Client, Config, Event, Item, ReceiverOptions};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let group = arguments.next().unwrap_or_else(|| "jobs".to_owned());
    let mut selectors: Vec<String> = arguments.collect();
    if selectors.is_empty() {
        selectors.push("*".to_owned());
    }
    let client = Client::new(Config::from_env()?)?;
    // Few on their way to each worker: what one is slow with, another one can begin.
    let options = ReceiverOptions::default().group(group).max_inflight(4).acknowledge(Acknowledge::Explicit);
    let mut receiver = client.receiver(options).await?;
    let mut subscription = receiver.subscribe(&selectors)?;
    subscription.on_router().await?;
    eprintln!("ready");
    while let Some(item) = receiver.next().await {
        match item {
            Item::Event(event) => {
                work(&event).await;
                // From here on nobody else gets it.
                receiver.acknowledge();
            }
            Item::Gap(gap) => eprintln!("the session was lost: {}", gap.reason.name()),
            _ => {}
        }
    }
    match receiver.refused() {
        Some(refused) => Err(refused.into()),
        None => Ok(()),
    }
}

/// The work. One that may have been begun elsewhere is looked at twice by who cannot do it twice.
async fn work(event: &Event) {
    tokio::time::sleep(Duration::from_millis(5)).await;
    let again = if event.maybe_duplicate { " (maybe again)" } else { "" };
    println!("{}{again}", String::from_utf8_lossy(&event.payload));
}
