//! The NATS door, line by line.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{LONG, World, event, post};

const SETTINGS: &str =
    "[nats]\nlisten = '127.0.0.1:0'\n[[nats.subject]]\ntemplate = 'logs.{host}.{severity}'\n";
const CONNECT: &str = r#"CONNECT {"verbose":false,"headers":true,"no_responders":true}"#;

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn open(at: SocketAddr, connect: &str) -> Self {
        let mut client = Self { stream: BufReader::new(TcpStream::connect(at).await.unwrap()) };
        let info = client.line().await;
        assert!(info.starts_with("INFO {") && info.contains("\"headers\":true"), "{info}");
        assert!(info.contains("\"client_ip\":\"127.0.0.1\""), "{info}");
        client.send(connect).await;
        client
    }

    async fn of(world: &World) -> Self {
        Self::open(world.gateway.addresses().nats.unwrap(), CONNECT).await
    }

    async fn send(&mut self, lines: &str) {
        self.stream.write_all(format!("{lines}\r\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(LONG, self.stream.read_line(&mut line)).await.unwrap().unwrap();
        line.trim_end().to_owned()
    }

    /// The next message: its line, and its payload with headers.
    async fn message(&mut self) -> (String, String) {
        let line = self.line().await;
        let bytes = line.rsplit(' ').next().and_then(|bytes| bytes.parse().ok());
        let mut payload = vec![0; bytes.unwrap_or_else(|| panic!("no message: {line:?}"))];
        self.stream.read_exact(&mut payload).await.unwrap();
        assert_eq!(self.line().await, "");
        (line, String::from_utf8(payload).unwrap())
    }

    /// Everything sent so far has been done.
    async fn ping(&mut self) {
        self.send("PING").await;
        assert_eq!(self.line().await, "PONG");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_gets_what_follows_it_on_the_same_connection() {
    let world = World::with(SETTINGS).await;
    let mut client = Client::of(&world).await;
    client.send("SUB a.* 1\r\nSUB a.> 2\r\nPUB a.b 5\r\nhello\r\nPUB a.b.c 2\r\nyo").await;
    let mut got = vec![client.message().await, client.message().await, client.message().await];
    got.sort();
    let message = |line: &str, payload: &str| (line.to_owned(), payload.to_owned());
    assert_eq!(
        got,
        [message("MSG a.b 1 5", "hello"), message("MSG a.b 2 5", "hello"), message("MSG a.b.c 2 2", "yo")]
    );
    client.send("UNSUB 1\r\nUNSUB 2 3\r\nPUB a.b 1\r\nx\r\nPUB a.b 1\r\ny").await;
    assert_eq!(client.message().await, message("MSG a.b 2 1", "x"));
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drains_gets_what_was_published_before() {
    let world = World::with(SETTINGS).await;
    let mut client = Client::of(&world).await;
    for round in 0..20 {
        client.send(&format!("SUB d {round}\r\nPUB d 1\r\na\r\nUNSUB {round}\r\nPUB d 1\r\nb\r\nPING")).await;
        assert_eq!(client.message().await, (format!("MSG d {round} 1"), "a".to_owned()));
        assert_eq!(client.line().await, "PONG", "and nothing that was published behind its end");
    }
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_or_told_at_once_that_nobody_will() {
    let world = World::with(SETTINGS).await;
    let (mut asks, mut answers) = (Client::of(&world).await, Client::of(&world).await);
    asks.send("SUB _INBOX.x.* 9\r\nPUB time _INBOX.x.1 0\r\n").await;
    let (line, payload) = asks.message().await;
    assert_eq!(line, "HMSG _INBOX.x.1 9 36 36");
    assert_eq!(payload, "NATS/1.0 503\r\nNats-Subject: time\r\n\r\n".to_owned());
    answers.send("SUB time 1").await;
    answers.ping().await;
    asks.send("HPUB time _INBOX.x.2 18 21\r\nNATS/1.0\r\nA: b\r\n\r\nnow").await;
    let (line, payload) = answers.message().await;
    assert_eq!(
        (line.as_str(), payload.as_str()),
        ("HMSG time 1 _INBOX.x.2 18 21", "NATS/1.0\r\nA: b\r\n\r\nnow")
    );
    answers.send("PUB _INBOX.x.2 4\r\n1234").await;
    assert_eq!(asks.message().await, ("MSG _INBOX.x.2 9 4".to_owned(), "1234".to_owned()));
    asks.send("PUB $JS.API.INFO _INBOX.x.3 0\r\n").await;
    assert!(asks.message().await.1.contains("JetStream is not available"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_requests_of_one_subject_keep_their_order() {
    let world = World::with(SETTINGS).await;
    let (mut says, mut hears) = (Client::of(&world).await, Client::of(&world).await);
    says.send("SUB _INBOX.x.* 9").await;
    hears.send("SUB job 1").await;
    hears.ping().await;
    // More than may wait behind a request, and a request now and then.
    for round in 0..20 {
        let number = |at: usize| round * 100 + at;
        let message = |at| match at % (round + 2) {
            0 => format!("PUB job _INBOX.x.{} 4\r\n{:04}", number(at), number(at)),
            _ => format!("PUB job 4\r\n{:04}", number(at)),
        };
        says.send(&(0..100).map(message).collect::<Vec<_>>().join("\r\n")).await;
    }
    for number in 0..2000 {
        assert_eq!(hears.message().await.1, format!("{number:04}"));
    }
    // Nobody has told it that a request had no receiver.
    says.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_joins_subjects_and_tags() {
    let world = World::with(SETTINGS).await;
    let mut stream = world.subscribe("host=web-1").await;
    let mut client = Client::of(&world).await;
    client.send("SUB logs.*.err 1\r\nPUB logs.web-1.err 2\r\nio").await;
    assert_eq!(client.message().await.0, "MSG logs.web-1.err 1 2");
    assert_eq!(event(&mut stream).await, ("host=web-1,severity=err".to_owned(), "io".to_owned()));
    post(world.http, "/events?tag=host=web-2&tag=severity=err&tag=app=x", &[], "from HTTP").await;
    assert_eq!(client.message().await, ("MSG logs.web-2.err 1 9".to_owned(), "from HTTP".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_of_a_queue_group_gets_each_message() {
    let world = World::with(SETTINGS).await;
    let (mut one, mut other) = (Client::of(&world).await, Client::of(&world).await);
    for client in [&mut one, &mut other] {
        client.send("SUB jobs workers 1").await;
        client.ping().await;
    }
    for _ in 0..5 {
        one.send("PUB jobs 1\r\nx\r\nPUB jobs 1\r\ny").await;
    }
    for client in [&mut one, &mut other] {
        for _ in 0..5 {
            assert_eq!(client.message().await.0, "MSG jobs 1 1");
        }
        client.ping().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_told_in_words_that_clients_know() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123").unwrap();
    let settings = format!(
        "[nats]\nlisten = '127.0.0.1:0'\n[[nats.identity]]\nname = 'reader'\ntoken_file = '{}'\nrights = ['subscribe']\n",
        token.display()
    );
    let world = World::with(&settings).await;
    let at = world.gateway.addresses().nats.unwrap();
    for wrong in ["PING", "CONNECT {}", r#"CONNECT {"auth_token":"no"}"#, "PUB a 1\r\nx"] {
        let mut client = Client::open(at, wrong).await;
        assert_eq!(client.line().await, "-ERR 'Authorization Violation'", "{wrong}");
        assert_eq!(client.line().await, "", "the door closes");
    }
    let connect = r#"CONNECT {"user":"anybody","pass":"0123456789abcdef0123","verbose":true}"#;
    let mut client = Client::open(at, connect).await;
    assert_eq!(client.line().await, "+OK");
    client.send("PUB a 1\r\nx\r\nSUB a..b 1\r\nSUB a 1").await;
    assert_eq!(client.line().await, "-ERR 'Permissions Violation for Publish to \"a\"'");
    assert_eq!(client.line().await, "-ERR 'Invalid Subject'");
    assert_eq!(client.line().await, "+OK");
    client.send("FLY").await;
    assert_eq!(client.line().await, "-ERR 'Unknown Protocol Operation'");
}
