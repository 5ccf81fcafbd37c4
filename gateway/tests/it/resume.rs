//! Streams and WebSockets that go on where their client was, from the history of routers.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::world::{EventSource, LONG, World, post};

/// A cluster that keeps history, of two owners.
async fn with_history() -> World {
    let change = |config: &mut millrace_router::RouterConfig| {
        config.cores = 2;
        config.history.bytes = 16 << 20;
    };
    World::at("", change).await
}

/// Publishes events of many tag sets, so that both owners have some.
async fn publish(world: &World, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let path = format!("/events?tag=a=b&tag=number={number}");
        let answer = post(world.http, &path, &[], number.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
}

/// The next events of a stream: their ids and payloads. A gap is a failure.
async fn events(source: &mut EventSource, count: usize) -> Vec<(String, u32)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let (event, id, data) = source.next().await.unwrap();
        match &*event {
            "subscribed" => continue,
            "" => {}
            _ => panic!("{event}: {data}"),
        }
        assert!(!id.is_empty() && id.len() <= 128, "{id}");
        let json: Value = serde_json::from_str(&data).unwrap();
        seen.push((id, json["payload"].as_str().unwrap().parse().unwrap()));
    }
    seen
}

fn sorted(events: &[(String, u32)]) -> Vec<u32> {
    let mut numbers: Vec<u32> = events.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_gets_what_it_missed_also_at_another_gateway() {
    let mut world = with_history().await;
    let mut source = EventSource::open(world.http, "/events?select=a", &[]).await;
    assert_eq!(source.next().await.unwrap().0, "subscribed");
    publish(&world, 0..10).await;
    let first = events(&mut source, 10).await;
    assert_eq!(sorted(&first), (0..10).collect::<Vec<_>>());
    drop(source);
    publish(&world, 10..20).await;
    world.restart_gateway().await;
    publish(&world, 20..30).await;
    // From each of the events on: those behind it, once each.
    for at in [0, 4, 9] {
        let had: Vec<u32> = first[..=at].iter().map(|(_, number)| *number).collect();
        let missed: Vec<u32> = (0..30).filter(|number| !had.contains(number)).collect();
        let header = format!("Last-Event-ID: {}", first[at].0);
        let query = format!("/events?select=a&cursor={}", first[at].0);
        for (path, headers) in [("/events?select=a", &[&*header][..]), (&*query, &[])] {
            let mut source = EventSource::open(world.http, path, headers).await;
            let replayed = events(&mut source, missed.len()).await;
            assert_eq!(sorted(&replayed), missed, "behind {at}");
            let again = format!("Last-Event-ID: {}", replayed[2].0);
            let mut source = EventSource::open(world.http, "/events?select=a", &[&again]).await;
            let rest = events(&mut source, missed.len() - 3).await;
            assert_eq!(sorted(&rest), sorted(&replayed[3..]), "a place within what was replayed");
        }
    }
    // And then what is new.
    let last = format!("Last-Event-ID: {}", first[9].0);
    let mut source = EventSource::open(world.http, "/events?select=a&select=c", &[&last]).await;
    assert_eq!(events(&mut source, 20).await.len(), 20);
    publish(&world, 30..32).await;
    assert_eq!(sorted(&events(&mut source, 2).await), [30, 31]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_silent_is_not_forgotten() {
    let mut world = with_history().await;
    let mut source = EventSource::open(world.http, "/events?select=a", &[]).await;
    assert_eq!(source.next().await.unwrap().0, "subscribed");
    publish(&world, 0..1).await;
    let (id, _) = events(&mut source, 1).await.remove(0);
    drop(source);
    publish(&world, 1..20).await;
    world.restart_gateway().await;
    let header = format!("Last-Event-ID: {id}");
    let mut source = EventSource::open(world.http, "/events?select=a", &[&header]).await;
    assert_eq!(sorted(&events(&mut source, 19).await), (1..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_history_one_gap_stands_for_what_was_missed() {
    let world = World::new().await;
    let mut source = EventSource::open(world.http, "/events?select=a", &[]).await;
    assert_eq!(source.next().await.unwrap().0, "subscribed");
    publish(&world, 0..1).await;
    let (id, _) = events(&mut source, 1).await.remove(0);
    for shown in [&*id, "tAAAAAA", "something else"] {
        let header = format!("Last-Event-ID: {shown}");
        let mut source = EventSource::open(world.http, "/events?select=a", &[&header]).await;
        let (event, _, data) = source.next().await.unwrap();
        assert_eq!((&*event, &*data), ("gap", r#"{"reason":"session_lost"}"#), "{shown}");
        assert_eq!(source.next().await.unwrap().0, "subscribed");
        publish(&world, 1..2).await;
        assert_eq!(sorted(&events(&mut source, 1).await), [1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_have_the_cursor_in_them() {
    let world = with_history().await;
    let http = world.http;
    let open = |query: String| async move { EventSource::open(http, &query, &[]).await };
    let mut lines = open("/events?select=a&format=jsonl".to_owned()).await;
    assert!(lines.line().await.contains("subscribed"));
    publish(&world, 0..2).await;
    let json: Value = serde_json::from_str(&lines.line().await).unwrap();
    let (first, cursor) = (json["payload"].clone(), json["cursor"].as_str().unwrap().to_owned());
    assert!(json["id"].is_string() && cursor.len() <= 128);
    let mut lines = open(format!("/events?select=a&format=jsonl&cursor={cursor}")).await;
    let next = loop {
        let json: Value = serde_json::from_str(&lines.line().await).unwrap();
        if json["payload"].is_string() {
            break json["payload"].clone();
        }
    };
    assert_ne!(next, first);
}

/// A WebSocket, and what it has said.
struct Socket {
    stream: WebSocketStream<TcpStream>,
    lines: VecDeque<Value>,
}

impl Socket {
    async fn open(world: &World) -> Self {
        let stream = TcpStream::connect(world.http).await.unwrap();
        let (stream, _) = client_async(format!("ws://{}/events", world.http), stream).await.unwrap();
        Self { stream, lines: VecDeque::new() }
    }

    async fn subscribe(&mut self, sub: &str, cursor: Option<&str>) {
        let mut frame = json!({"op": "subscribe", "sub": sub, "select": ["a"]});
        if let Some(cursor) = cursor {
            frame["cursor"] = cursor.into();
        }
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn line(&mut self) -> Value {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return line;
            }
            let message = timeout(LONG, self.stream.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = message {
                self.lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
            }
        }
    }

    /// The next events: their cursors and payloads. A gap is a failure.
    async fn events(&mut self, count: usize) -> Vec<(String, u32)> {
        let mut seen = Vec::new();
        while seen.len() < count {
            let line = self.line().await;
            match line["op"].as_str() {
                Some("subscribed") => continue,
                Some("event") => {}
                _ => panic!("{line}"),
            }
            let cursor = line["cursor"].as_str().unwrap().to_owned();
            assert!(cursor.len() <= 128);
            seen.push((cursor, line["payload"].as_str().unwrap().parse().unwrap()));
        }
        seen
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_comes_back_gets_what_it_missed() {
    let mut world = with_history().await;
    let mut socket = Socket::open(&world).await;
    socket.subscribe("s", None).await;
    assert_eq!(socket.line().await["op"], "subscribed");
    publish(&world, 0..10).await;
    let first = socket.events(10).await;
    assert_eq!(sorted(&first), (0..10).collect::<Vec<_>>());
    drop(socket);
    publish(&world, 10..20).await;
    world.restart_gateway().await;
    for at in [0, 9] {
        let had: Vec<u32> = first[..=at].iter().map(|(_, number)| *number).collect();
        let missed: Vec<u32> = (0..20).filter(|number| !had.contains(number)).collect();
        let mut socket = Socket::open(&world).await;
        socket.subscribe("s", Some(&first[at].0)).await;
        assert_eq!(socket.line().await, json!({"op": "subscribed", "sub": "s"}));
        let replayed = socket.events(missed.len()).await;
        assert_eq!(sorted(&replayed), missed, "behind {at}");
        // From a place within what was replayed, beside the first one, and with another one.
        socket.subscribe("again", Some(&replayed[2].0)).await;
        assert_eq!(sorted(&socket.events(missed.len() - 3).await), sorted(&replayed[3..]));
        socket.subscribe("s", Some(&replayed[2].0)).await;
        assert_eq!(socket.line().await["error"], "malformed", "this sub is taken");
        socket.stream.send(Message::text(r#"{"op":"unsubscribe","sub":"again"}"#)).await.unwrap();
        assert_eq!(socket.line().await["op"], "unsubscribed");
    }
    let mut socket = Socket::open(&world).await;
    socket.subscribe("s", Some(&first[9].0)).await;
    assert_eq!(socket.events(10).await.len(), 10);
    publish(&world, 20..22).await;
    assert_eq!(sorted(&socket.events(2).await), [20, 21], "and then what is new");
    socket.subscribe("long", Some(&"x".repeat(129))).await;
    assert_eq!(socket.line().await["error"], "malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_history_a_websocket_finds_one_gap() {
    let world = World::new().await;
    for cursor in ["bb8d67b0460d98c6955b8fdf8ca23add.128c83e405097313.0", "tAAAAAA"] {
        let mut socket = Socket::open(&world).await;
        socket.subscribe("s", Some(cursor)).await;
        let gap = json!({"op": "gap", "sub": "s", "reason": "session_lost"});
        assert_eq!(socket.line().await, gap, "{cursor}");
        assert_eq!(socket.line().await["op"], "subscribed");
        publish(&world, 0..1).await;
        let event = socket.line().await;
        assert_eq!((&event["payload"], &event["cursor"]), (&json!("0"), &Value::Null));
    }
}
