//! A router and a gateway, and the smallest HTTP client that shows every byte.

use std::net::SocketAddr;
use std::time::Duration;

use millrace_client::{Client, Config, Item, ReceiverOptions, SubscriptionStream, Trust};
use millrace_gateway::Gateway;
use millrace_gateway::reload::Running;
use millrace_gateway::settings::File;
use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything takes; a test that waits this long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) router: RouterHandle,
    pub(crate) gateway: Gateway,
    /// What it reads its settings anew with.
    pub(crate) running: Running,
    pub(crate) http: SocketAddr,
    config: Config,
}

impl World {
    /// A router, and a gateway with these settings besides its routers and addresses.
    pub(crate) async fn with(settings: &str) -> Self {
        Self::at(settings, |config| config.cores = 1).await
    }

    /// As [`World::with`], of a router with other settings.
    pub(crate) async fn at(settings: &str, change: impl FnOnce(&mut RouterConfig)) -> Self {
        let authority = DevAuthority::new().unwrap();
        let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
        change(&mut config);
        let router = Router::start(config).unwrap();
        let config = Config::new([router.addr().to_string().parse().unwrap()])
            .trust(Trust::Pem(authority.ca_pem().as_bytes().to_vec()));
        let (gateway, running) = gateway(settings, &config).await;
        let http = gateway.addresses().http.unwrap();
        let world = Self { router, gateway, running, http, config };
        world.ready().await;
        world
    }

    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// Asks until the gateway has a router.
    async fn ready(&self) {
        let asking = async { while get(self.http, "/readyz").await.status != 200 {} };
        timeout(LONG, asking).await.unwrap();
    }

    /// What a program that uses the client library receives.
    pub(crate) async fn subscribe(&self, selector: &str) -> SubscriptionStream {
        let client = Client::new(self.config.clone()).unwrap();
        let mut stream = client.subscribe([selector], ReceiverOptions::default()).await.unwrap();
        stream.subscription().in_cluster().await.unwrap();
        stream
    }

    /// Another gateway takes the place of the one that there is.
    pub(crate) async fn restart_gateway(&mut self) {
        let (next, running) = gateway("", &self.config).await;
        self.running = running;
        self.http = next.addresses().http.unwrap();
        std::mem::replace(&mut self.gateway, next).stop(LONG).await;
        self.ready().await;
    }

    pub(crate) fn stop_router(&self) {
        self.router.stop(Duration::ZERO);
    }
}

/// A gateway for these routers.
async fn gateway(settings: &str, config: &Config) -> (Gateway, Running) {
    let running = Running::new(file(settings)).unwrap();
    let mut settings = running.settings().clone();
    settings.routers = config.clone();
    (Gateway::start(settings).await.unwrap(), running)
}

/// Settings with addresses that the system chooses.
pub(crate) fn file(settings: &str) -> File {
    let mut file = File::parse(settings).unwrap();
    for listen in [&mut file.http.listen, &mut file.admin.listen] {
        listen.get_or_insert_with(|| "127.0.0.1:0".to_owned());
    }
    file
}

/// The next event: its tags and its payload.
pub(crate) async fn event(stream: &mut SubscriptionStream) -> (String, String) {
    match timeout(LONG, stream.next()).await.unwrap() {
        Some(Item::Event(event)) => {
            (event.tags.to_string(), String::from_utf8_lossy(&event.payload).into_owned())
        }
        other => panic!("no event: {other:?}"),
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(crate) async fn get(at: SocketAddr, path: &str) -> Answer {
    request(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"), b"").await
}

/// Posts a body; `headers` are whole lines.
pub(crate) async fn post(at: SocketAddr, path: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    headers.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
    request(at, &format!("{head}\r\n"), body).await
}

async fn request(at: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The door may have answered and closed before it has read all of it.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut bytes)).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A stream of server-sent events.
pub(crate) struct EventSource {
    lines: BufReader<TcpStream>,
}

impl EventSource {
    pub(crate) async fn open(at: SocketAddr, path: &str, headers: &[&str]) -> Self {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n");
        headers.iter().for_each(|line| head.push_str(&format!("{line}\r\n")));
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        Self { lines: BufReader::new(stream) }
    }

    /// The next event: its `event`, `id` and `data`. The frames of chunks are skipped.
    pub(crate) async fn next(&mut self) -> Option<(String, String, String)> {
        let (mut event, mut id, mut data) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            if timeout(LONG, self.lines.read_line(&mut line)).await.unwrap().unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("event", text)) => event = text.to_owned(),
                Some(("id", text)) => id = text.to_owned(),
                Some(("data", text)) => data = text.to_owned(),
                None if line.trim_end().is_empty() && !data.is_empty() => return Some((event, id, data)),
                _ => {}
            }
        }
    }

    /// The next line of JSON.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(timeout(LONG, self.lines.read_line(&mut line)).await.unwrap().unwrap(), 0);
            if line.starts_with('{') {
                return line;
            }
        }
    }
}
