//! The CloudEvents SDK of Rust against the HTTP door of a gateway:
//! `millrace-peer-cloudevents http://ADDRESS:PORT`. It ends with 0 when every mode came through.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloudevents::binding::reqwest::RequestBuilderExt;
use cloudevents::event::ExtensionValue;
use cloudevents::{Event, EventBuilder, EventBuilderV10};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);
const SUBJECT: &str = "100% sure, \"quoted\"";
const TIME: &str = "2026-11-28T12:30:15.25Z";

/// A stream of the gateway's events, as lines of JSON.
struct Stream {
    answer: Response,
    read: Vec<u8>,
}

impl Stream {
    async fn open(http: &str) -> Result<Self> {
        let answer = Client::new().get(format!("{http}/events?select=sdk=rust&format=jsonl")).send().await?;
        let mut stream = Self { answer: answer.error_for_status()?, read: Vec::new() };
        ensure!(stream.line().await? == json!({"subscribed": {}}), "the stream begins with something else");
        Ok(stream)
    }

    /// The next line that is none of those that keep the stream open.
    async fn line(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(serde_json::from_slice(&line)?);
                }
                continue;
            }
            let chunk = tokio::time::timeout(LONG, self.answer.chunk()).await.context("no event came")??;
            self.read.extend_from_slice(&chunk.context("the stream has ended")?);
        }
    }
}

fn event(id: &str, media: &str, data: Value) -> Result<Event> {
    let builder = EventBuilderV10::new()
        .id(id)
        .source("/doors/rust")
        .ty("check.sdk")
        .subject(SUBJECT)
        .time(TIME)
        .extension("comexampleextension", "value");
    Ok(builder.data(media, data).build()?)
}

/// Its outcome, for an event or for each of a batch.
async fn confirmed(request: RequestBuilder) -> Result<Value> {
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status == StatusCode::ACCEPTED, "{status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let http = std::env::args().nth(1).context("usage: millrace-peer-cloudevents http://ADDRESS:PORT")?;
    let mut stream = Stream::open(&http).await?;
    let client = Client::builder().timeout(LONG).build()?;
    let post = || client.post(format!("{http}/events?tag=sdk=rust"));

    let data = json!({"a": [1, null]});
    // The SDK sends one event in binary mode, and makes the structured form with serde.
    let sent = event("17", "application/json", data.clone())?;
    ensure!(
        sent.extension("comexampleextension") == Some(&ExtensionValue::String("value".into())),
        "the SDK has kept no extension"
    );
    let structured = serde_json::to_string(&sent)?;
    let of_mode = [
        ("binary", post().event(sent)?),
        ("structured", post().header("content-type", "application/cloudevents+json").body(structured)),
    ];
    for (mode, request) in of_mode {
        let answer = confirmed(request).await.context(mode)?;
        ensure!(answer["outcome"] == "confirmed", "{mode}: {answer}");
        let event = stream.line().await.context(mode)?;
        let tags = json!({
            "sdk": "rust", "ce_id": "17", "ce_source": "/doors/rust", "ce_type": "check.sdk", "ce_subject": SUBJECT,
            "ce_datacontenttype": "application/json", "comexampleextension": "value",
        });
        ensure!(
            event["id"] == answer["id"] && event["tags"] == tags && event["time"] == TIME,
            "{mode}: {event}"
        );
        let payload: Value = serde_json::from_str(event["payload"].as_str().context("no text")?)?;
        ensure!(payload == data, "{mode}: {event}");
    }

    let batch = (0..100).map(|number| event(&number.to_string(), "application/json", json!(number)));
    let answer = confirmed(post().events(batch.collect::<Result<_>>()?)?).await.context("batch")?;
    ensure!(answer["events"].as_array().is_some_and(|events| events.len() == 100), "batch: {answer}");
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(stream.line().await?["tags"]["ce_id"].as_str().context("no id")?.parse::<u32>()?);
    }
    // Each has tags of its own, and events of different tags may pass each other.
    ids.sort_unstable();
    ensure!(ids.iter().copied().eq(0..100), "batch: {ids:?}");
    Ok(())
}
