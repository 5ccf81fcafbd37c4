//! `GET /events`: server-sent events and WebSockets.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::world::{EventSource, LONG, World, get, post};

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(world: &World) -> Self {
        let mut request = format!("ws://{}/events", world.http).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "millrace.v1".parse().unwrap());
        let stream = TcpStream::connect(world.http).await.unwrap();
        let (socket, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "millrace.v1");
        Self(socket)
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next line that is no event.
    async fn next(&mut self) -> Value {
        loop {
            let message = timeout(LONG, self.0.next()).await.unwrap().unwrap().unwrap();
            if let Message::Text(text) = message {
                assert_eq!(text.lines().count(), 1, "one thing at a time happens in these tests");
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_stream_with_ids_to_all_who_ask_for_the_same() {
    let world = World::new().await;
    let mut sources = Vec::new();
    for _ in 0..3 {
        let mut source = EventSource::open(world.http, "/events?select=a=b&select=c", &[]).await;
        assert_eq!(source.next().await.unwrap().0, "subscribed");
        sources.push(source);
    }
    assert_eq!(world.gateway.room().upstream.feeds().count(), 1, "equal selectors share a feed");
    let answer = post(world.http, "/events?tag=a=b&tag=c=d", &[], "hello").await;
    assert_eq!(answer.json()["receivers"], 1, "{}", answer.body);
    for source in &mut sources {
        let (event, id, data) = source.next().await.unwrap();
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!((event.as_str(), &data["payload"]), ("", &json!("hello")));
        assert_eq!(data["tags"], json!({"a": "b", "c": "d"}));
        assert_eq!((id.len() <= 128, &json!(id)), (true, &answer.json()["id"]));
    }
    drop(sources);
    let closed = async {
        while world.gateway.room().upstream.feeds().count() > 0 {
            tokio::task::yield_now().await
        }
    };
    timeout(LONG, closed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_finds_a_gap_first() {
    let world = World::new().await;
    for (path, headers) in
        [("/events?select=a", &["Last-Event-ID: x.y.3"][..]), ("/events?select=a&cursor=x.y.3", &[])]
    {
        let mut source = EventSource::open(world.http, path, headers).await;
        let (event, _, data) = source.next().await.unwrap();
        assert_eq!((event.as_str(), data.as_str()), ("gap", r#"{"reason":"session_lost"}"#));
        assert_eq!(source.next().await.unwrap().0, "subscribed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_selector_is_answered_with_its_column() {
    let world = World::new().await;
    let answer = get(world.http, "/events?select=a%3D%3D%3D").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("column"), "{}", answer.body);
    assert_eq!(get(world.http, "/events").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_gateway_stops() {
    let world = World::new().await;
    let mut source = EventSource::open(world.http, "/events?select=a", &[]).await;
    source.next().await.unwrap();
    world.gateway.stop(LONG).await;
    assert_eq!(source.next().await, None);
    world.router.stop(LONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_publishes_and_subscribes() {
    let world = World::new().await;
    let mut socket = Socket::open(&world).await;
    socket.send(json!({"op": "subscribe", "sub": "s", "select": ["a=b"]})).await;
    assert_eq!(socket.next().await, json!({"op": "subscribed", "sub": "s"}));
    socket.send(json!({"op": "publish", "ref": "1", "tags": {"a": "c"}, "payload": "for nobody"})).await;
    let published = socket.next().await;
    assert_eq!((&published["op"], &published["ref"]), (&json!("published"), &json!("1")));
    assert_eq!((&published["outcome"], &published["receivers"]), (&json!("confirmed"), &json!(0)));
    socket
        .send(json!({"op": "publish", "tags": {"a": "b"}, "payload_base64": "/wA=", "level": "none"}))
        .await;
    let event = socket.next().await;
    assert_eq!((&event["op"], &event["sub"]), (&json!("event"), &json!("s")));
    assert_eq!((&event["payload_base64"], &event["tags"]), (&json!("/wA="), &json!({"a": "b"})));
    socket.send(json!({"op": "unsubscribe", "sub": "s"})).await;
    assert_eq!(socket.next().await["op"], "unsubscribed");
    assert_eq!(world.gateway.room().upstream.feeds().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_its_frame_and_the_connection_goes_on() {
    let world = World::new().await;
    let mut socket = Socket::open(&world).await;
    socket.0.send(Message::text("nonsense")).await.unwrap();
    assert_eq!(socket.next().await["error"], "malformed");
    socket.0.send(Message::binary(vec![0xff])).await.unwrap();
    assert_eq!(socket.next().await["error"], "malformed");
    let frame = json!({"op": "publish", "ref": "b", "tags": {"a": "b"}}).to_string();
    socket.0.send(Message::binary(frame.into_bytes())).await.unwrap();
    assert_eq!(socket.next().await["ref"], "b", "a text that came as bytes");
    socket.send(json!({"op": "subscribe", "sub": "s", "select": ["&&"]})).await;
    assert_eq!(socket.next().await["sub"], "s");
    socket.send(json!({"op": "publish", "ref": "r", "tags": {"no key": "b"}})).await;
    assert_eq!(socket.next().await["ref"], "r");
    socket.send(json!({"op": "subscribe", "sub": "s", "select": ["a"], "cursor": "x"})).await;
    assert_eq!(socket.next().await["op"], "gap");
    assert_eq!(socket.next().await["op"], "subscribed");
    world.gateway.stop(LONG).await;
    assert!(matches!(timeout(LONG, socket.0.next()).await.unwrap(), Some(Ok(Message::Close(Some(_))))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_that_there_is_not_is_refused() {
    let world = World::new().await;
    let answer = get(world.http, "/events?select=a&format=json").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("sse and jsonl"), "{}", answer.body);
    let mut source = EventSource::open(world.http, "/events?select=a&format=sse", &[]).await;
    assert_eq!(source.next().await.unwrap().0, "subscribed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_of_another_version_is_told_which_there_is() {
    let world = World::new().await;
    let handshake = async |version: &str, key: &str| {
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        let head = format!(
            "GET /events HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{version}\
             Sec-WebSocket-Key: {key}\r\n\r\n",
            world.http
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut lines, mut found) = (BufReader::new(stream), String::new());
        while !found.ends_with("\r\n\r\n") {
            assert_ne!(timeout(LONG, lines.read_line(&mut found)).await.unwrap().unwrap(), 0, "{found}");
        }
        found.to_lowercase()
    };
    for version in ["", "Sec-WebSocket-Version: 8\r\n"] {
        let answer = handshake(version, "dGhlIHNhbXBsZSBub25jZQ==").await;
        assert!(
            answer.starts_with("http/1.1 426") && answer.contains("sec-websocket-version: 13"),
            "{answer}"
        );
    }
    for (key, status) in [("x", "400"), ("dGhlIHNhbXBsZSBub25jZQ==", "101")] {
        let answer = handshake("Sec-WebSocket-Version: 13\r\n", key).await;
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_brings_all_that_it_needs() {
    let world = World::new().await;
    for (path, part) in [
        ("/", "/page.js"),
        ("/page.js", "./millrace.js"),
        ("/page.css", "body"),
        ("/millrace.js", "WebSocket"),
    ] {
        let answer = get(world.http, path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(part), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_one_right_opens_is_no_refusal_and_one_that_none_opens_is_one() {
    let only = |rights: &str| {
        format!("[[http.identity]]\nname = 'a'\nnetworks = ['127.0.0.1']\nrights = {rights}\n")
    };
    for (settings, status, refused) in [(only("['publish']"), 101, 0), (only("[]"), 403, 1)] {
        let world = World::with(&settings).await;
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        let head = format!(
            "GET /events HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            world.http
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut line = String::new();
        timeout(LONG, BufReader::new(&mut stream).read_line(&mut line)).await.unwrap().unwrap();
        assert!(line.contains(&status.to_string()), "{line}");
        let page = get(world.gateway.addresses().admin.unwrap(), "/metrics").await.body;
        let count: u64 = page
            .lines()
            .filter(|line| line.starts_with("millrace_gateway_refused_total{door=\"web\""))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum();
        assert_eq!(count, refused, "{page}");
    }
}
