//! Asks, and answers: who has the time in which unit?
//!
//! ```sh
//! millrace-router &                                                # dev mode: on this host
//! cargo run -p millrace-client --example requests -- answer &      # as many as you like
//! cargo run -p millrace-client --example requests -- ask seconds
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::{Duration, SystemTime};

use millrace_client::{
    Client, Config, ConfirmLevel, Item, PublisherOptions, ReceiverOptions, Request, TagSet, Wanted,
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let client = Client::new(Config::from_env()?)?;
    match arguments.next().as_deref() {
        Some("answer") => answer(&client).await,
        Some("ask") => ask(&client, &arguments.next().unwrap_or_else(|| "seconds".to_owned())).await,
        _ => anyhow::bail!("say `answer`, or `ask UNIT`"),
    }
}

async fn ask(client: &Client, unit: &str) -> anyhow::Result<()> {
    let requester = client.requester().await?;
    let tags = TagSet::from_texts(["service=time", &format!("unit={unit}")])?;
    let request = Request::default().replies(Wanted::All).timeout(Duration::from_secs(2));
    let mut replies = requester.request(&tags, "?", request).await?;
    while let Some(reply) = replies.next().await {
        println!("{}", String::from_utf8_lossy(&reply.payload));
    }
    let end = replies.end().map_or("?", |end| end.name());
    println!("{end}: {} replies of {:?} receivers", replies.count(), replies.receivers());
    Ok(())
}

async fn answer(client: &Client) -> anyhow::Result<()> {
    let mut receiver = client.receiver(ReceiverOptions::default()).await?;
    // Level *routed* tells of each reply whether it has arrived.
    let options = PublisherOptions::default().level(ConfirmLevel::Routed).linger(Duration::ZERO);
    let publisher = client.publisher(options).await?;
    receiver.subscribe(["service=time"])?.in_cluster().await?;
    eprintln!("ready");
    while let Some(item) = receiver.next().await {
        let Item::Event(event) = item else { continue };
        let Some(reply_to) = &event.reply_to else { continue };
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let text = match event.tags.get("unit") {
            Some("milliseconds") => since.as_millis().to_string(),
            _ => since.as_secs().to_string(),
        };
        let outcome = publisher.reply(reply_to, text).await?.await;
        if outcome.is_requester_gone() {
            println!("whoever asked is gone");
        }
    }
    Ok(())
}
