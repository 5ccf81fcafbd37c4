//! async-nats against the NATS door of a gateway: `millrace-peer-async-nats nats://ADDRESS:PORT`.
//! It ends with 0 when all went as with a server. With a number of seconds behind the address it
//! measures instead, at whatever server is there.

mod figures;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_nats::{Client, ConnectOptions, HeaderMap, Message, RequestErrorKind, Subscriber};
use futures_util::StreamExt;
use tokio::time::timeout;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

async fn connect(url: &str) -> Result<Client> {
    let patient = ConnectOptions::new().connection_timeout(LONG).request_timeout(Some(LONG));
    Ok(patient.connect(url).await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("usage: millrace-peer-async-nats nats://ADDRESS:PORT [SECONDS]")?;
    if let Some(seconds) = arguments.next() {
        return figures::print(&url, seconds.parse()?).await;
    }
    let (one, other) = (connect(&url).await?, connect(&url).await?);
    messages(&one, &other).await.context("messages")?;
    requests(&one, &other).await.context("requests")?;
    groups(&one, &other).await.context("queue groups")?;
    ends(&one, &other).await.context("ends of subscriptions")?;
    jetstream(&one).await.context("what asks for JetStream")?;
    one.drain().await?;
    other.drain().await?;
    Ok(())
}

async fn next(from: &mut Subscriber) -> Result<Message> {
    timeout(LONG, from.next()).await.context("no message came")?.context("the subscription has ended")
}

/// Everything that this client has sent so far is done: its flush only empties its own buffer.
async fn settled(client: &Client) -> Result<()> {
    match client.request("nobody.settled", "".into()).await {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
        answer => bail!("a request that nobody takes: {answer:?}"),
    }
}

async fn messages(one: &Client, other: &Client) -> Result<()> {
    let (mut star, mut rest) = (other.subscribe("rust.*.x").await?, other.subscribe("rust.>").await?);
    settled(other).await?;
    for number in 0..1_000 {
        one.publish("rust.a.x", number.to_string().into()).await?;
    }
    for number in 0..1_000 {
        for from in [&mut star, &mut rest] {
            let message = next(from).await?;
            ensure!(message.subject.as_str() == "rust.a.x" && message.payload == number.to_string());
        }
    }
    let mut headers = HeaderMap::new();
    headers.insert("Trace", "17");
    headers.append("Trace", "18");
    one.publish_with_headers("rust.a.b.c", headers, "deep".into()).await?;
    let message = next(&mut rest).await?;
    let headers = message.headers.context("headers are lost")?;
    let values: Vec<&str> = headers.get_all("Trace").map(|value| value.as_str()).collect();
    ensure!(values == ["17", "18"] && message.payload == "deep", "{values:?}");
    let large = vec![7; 1_000_000];
    one.publish("rust.large.x", large.clone().into()).await?;
    for from in [&mut star, &mut rest] {
        ensure!(next(from).await?.payload == large);
    }
    let info = one.server_info();
    ensure!(info.max_payload > 1_000_000 && info.headers && info.client_id > 0, "{info:?}");
    ensure!(one.is_server_compatible(2, 12, 0));
    Ok(())
}

async fn requests(one: &Client, other: &Client) -> Result<()> {
    let mut asked = other.subscribe("upper").await?;
    settled(other).await?;
    let answering = other.clone();
    let task = tokio::spawn(async move {
        while let Some(message) = asked.next().await {
            let text = String::from_utf8_lossy(&message.payload).to_uppercase();
            if let Some(reply) = message.reply {
                answering.publish(reply, text.into()).await?;
            }
        }
        anyhow::Ok(())
    });
    for number in 0..100 {
        let answer = one.request("upper", format!("text {number}").into()).await?;
        ensure!(answer.payload == format!("TEXT {number}"), "{answer:?}");
    }
    task.abort();
    Ok(())
}

async fn groups(one: &Client, other: &Client) -> Result<()> {
    let mut members = Vec::new();
    for client in [one, one, other, other] {
        members.push(client.queue_subscribe("jobs.>", "rust-workers".to_owned()).await?);
    }
    settled(one).await?;
    settled(other).await?;
    for number in 0..200 {
        one.publish(format!("jobs.{}", number % 7), number.to_string().into()).await?;
    }
    let mut work = futures_util::stream::select_all(members);
    let mut taken = BTreeSet::new();
    while taken.len() < 200 {
        let message = timeout(LONG, work.next()).await.context("work is lost")?.context("all have ended")?;
        let text = String::from_utf8(message.payload.to_vec())?;
        ensure!(taken.insert(text.clone()), "{text} was given twice");
    }
    Ok(())
}

async fn ends(one: &Client, other: &Client) -> Result<()> {
    let mut limited = other.subscribe("limited").await?;
    limited.unsubscribe_after(2).await?;
    settled(other).await?;
    for number in 0..4 {
        one.publish("limited", number.to_string().into()).await?;
    }
    one.flush().await?;
    ensure!(next(&mut limited).await?.payload == "0" && next(&mut limited).await?.payload == "1");
    ensure!(timeout(LONG, limited.next()).await?.is_none(), "a third one came");
    let mut gone = other.subscribe("gone").await?;
    gone.unsubscribe().await?;
    settled(other).await?;
    one.publish("gone", "x".into()).await?;
    one.flush().await?;
    ensure!(timeout(LONG, gone.next()).await?.is_none(), "a message came behind the end");
    Ok(())
}

async fn jetstream(one: &Client) -> Result<()> {
    let answer = one.request("$JS.API.INFO", "".into()).await?;
    let text = String::from_utf8_lossy(&answer.payload);
    ensure!(text.contains("\"code\":503") && text.contains("not available"), "{text}");
    Ok(())
}
