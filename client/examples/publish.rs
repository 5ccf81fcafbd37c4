//! Publishes a line of text every second, until Ctrl-C ends the process.
//!
//! ```sh
//! millrace-router &                                   # dev mode: on this host, its own authority
//! cargo run -p millrace-client --example publish -- service=web,severity=info 'all is well'
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it sees")]

use std::time::Duration;

use millrace_client::{Client, Config, PublisherOptions, TagSet};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let tags: TagSet = arguments.next().unwrap_or_else(|| "service=web".to_owned()).parse()?;
    let text = arguments.next().unwrap_or_else(|| "hello, world".to_owned());

    // MILLRACE_ROUTER, MILLRACE_CA, MILLRACE_CERT and MILLRACE_KEY say where to; without them, the
    // router in dev mode on this host.
    let client = Client::new(Config::from_env()?)?;
    let publisher = client.publisher(PublisherOptions::default()).await?;
    // A handle saves hashing the tags for each event.
    let tags = publisher.register(&tags)?;
    for number in 1u64.. {
        // Returns at once, unless the queue is full: a router then takes less than is published.
        publisher.publish(tags, format!("{text} ({number})")).await?;
        // Events whose connection was lost while they were on their way.
        while let Some(lost) = publisher.try_lost() {
            eprintln!("unknown: {:?}, because {}", lost.seqs, lost.reason);
        }
        println!("{:?}", publisher.stats());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
