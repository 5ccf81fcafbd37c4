//! An agent: what local programs publish outlives it and its routers.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use millrace_client::{Client, Config, Item, ReceiverOptions, SubscriptionStream, Trust};
use millrace_gateway::agent::Agent;
use millrace_gateway::agent::settings::{AgentFile, AgentSettings};
use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::world::{Answer, EventSource, LONG, event, get, post};

/// A folder for an agent, and the routers that it is told of.
struct Host {
    folder: TempDir,
    settings: String,
}

impl Host {
    fn new(settings: &str) -> Self {
        Self { folder: TempDir::new().unwrap(), settings: settings.to_owned() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn agent(&self, routers: &Config) -> Agent {
        let mut file = AgentFile::parse(&self.settings).unwrap();
        file.spool.folder = Some(self.path().join("spool"));
        file.spool.free_percent = Some(0);
        file.unix.listen = Some(self.path().join("agent.sock").display().to_string());
        for listen in
            [&mut file.http.listen, &mut file.syslog.udp, &mut file.syslog.tcp, &mut file.admin.listen]
        {
            *listen = Some("127.0.0.1:0".to_owned());
        }
        let mut settings = AgentSettings::of(&file.complete("web-1.example")).unwrap();
        settings.routers = routers.clone();
        Agent::start(settings).await.unwrap()
    }

    /// Posts over the unix socket.
    async fn post(&self, path: &str, body: &str) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = UnixStream::connect(self.path().join("agent.sock")).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        timeout(LONG, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

/// A router with history, and how to reach it.
fn router() -> (RouterHandle, Config) {
    let authority = DevAuthority::new().unwrap();
    let mut config = RouterConfig::new(authority.router("one", &[]).unwrap());
    config.cores = 1;
    config.history.bytes = 16 << 20;
    let router = Router::start(config).unwrap();
    let reach = Config::new([router.addr().to_string().parse().unwrap()])
        .trust(Trust::Pem(authority.ca_pem().as_bytes().to_vec()));
    (router, reach)
}

/// A router that never answers; kept open for as long as it is held.
fn silence() -> (UdpSocket, Config) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let authority = DevAuthority::new().unwrap();
    let trust = Trust::Pem(authority.ca_pem().as_bytes().to_vec());
    (socket, Config::new([address.parse().unwrap()]).trust(trust))
}

async fn subscribe(routers: &Config, selector: &str) -> SubscriptionStream {
    let client = Client::new(routers.clone()).unwrap();
    let mut stream = client.subscribe([selector], ReceiverOptions::default()).await.unwrap();
    stream.subscription().in_cluster().await.unwrap();
    stream
}

/// What `/status` says of a producer.
async fn producer(agent: &Agent, name: &str) -> Value {
    let status = get(agent.addresses().admin.unwrap(), "/status").await.json();
    let producers = status["producers"].as_array().unwrap();
    producers.iter().find(|producer| producer["name"] == name).cloned().unwrap_or(Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_outlive_the_agent_and_the_absence_of_routers() {
    let host = Host::new("");
    let (_silent, nobody) = silence();
    let first = host.agent(&nobody).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        let answer = host.post("/events?tag=service=raid", &number.to_string()).await;
        assert_eq!((answer.status, &answer.json()["outcome"]), (202, &json!("accepted")), "{}", answer.body);
        ids.push(answer.json()["id"].clone());
    }
    first.stop(LONG).await;
    let (_router, routers) = router();
    let mut stream = subscribe(&routers, "service=raid").await;
    let second = host.agent(&routers).await;
    for (number, id) in ids.iter().enumerate() {
        let Some(Item::Event(event)) = timeout(LONG, stream.next()).await.unwrap() else { panic!("a gap") };
        assert_eq!(String::from_utf8_lossy(&event.payload), number.to_string());
        assert_eq!(event.tags.to_string(), "fqdn=web-1.example,service=raid");
        assert_eq!(&json!(event.id.to_string()), id);
    }
    let after = host.post("/events?tag=service=raid&wait=routed", "after").await;
    assert_eq!((after.status, &after.json()["receivers"]), (202, &json!(1)), "{}", after.body);
    second.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_producer_has_its_own_ids_and_nobody_speaks_for_the_host() {
    let host = Host::new("identity.tags = { site = 'ber' }");
    let (_router, routers) = router();
    let mut stream = subscribe(&routers, "service=raid").await;
    let agent = host.agent(&routers).await;
    let http = agent.addresses().http.unwrap();
    host.post("/events?tag=service=raid&tag=fqdn=liar&tag=site=moon&wait=routed", "socket").await;
    let named = ["Millrace-Producer: backup"];
    assert_eq!(post(http, "/events?tag=service=raid&wait=routed", &named, "named").await.status, 202);
    assert_eq!(post(http, "/events?tag=service=raid&wait=routed", &[], "http").await.status, 202);
    let mut publishers = std::collections::BTreeSet::new();
    for payload in ["socket", "named", "http"] {
        let Some(Item::Event(event)) = timeout(LONG, stream.next()).await.unwrap() else { panic!("a gap") };
        assert_eq!(String::from_utf8_lossy(&event.payload), payload);
        assert_eq!(event.tags.to_string(), "fqdn=web-1.example,service=raid,site=ber");
        publishers.insert(event.id.publisher.publisher.to_string());
    }
    assert_eq!(publishers.len(), 3);
    let own = producer(&agent, &format!("uid-{}", rustix::process::getuid().as_raw())).await;
    assert_eq!((&own["replaced_tags"], &own["published"]), (&json!(2), &json!(1)), "{own}");
    assert_eq!(producer(&agent, "http-backup").await["published"], 1);
    let wrong = post(http, "/events?tag=a=b", &["Millrace-Producer: a/b"], "").await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    let evil = post(http, "/events?tag=a=b", &["Origin: https://evil.example"], "").await;
    assert_eq!(evil.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_programs_of_a_host_share_one_connection() {
    let host = Host::new("");
    let (router, routers) = router();
    let connections = || router.cores().iter().map(|core| core.connections).sum::<u64>();
    let before = connections();
    let agent = host.agent(&routers).await;
    let http = agent.addresses().http.unwrap();
    for number in 0..30 {
        let named = [&*format!("Millrace-Producer: job-{number}")];
        for wait in ["routed", "delivered"] {
            let path = format!("/events?tag=service=raid&wait={wait}");
            let answer = post(http, &path, &named, "x").await;
            assert_eq!(
                (answer.status, &answer.json()["outcome"]),
                (202, &json!("confirmed")),
                "{}",
                answer.body
            );
        }
    }
    let mut readers = Vec::new();
    for (number, query) in
        ["select=reader", "select=reader&select=x", "select=reader&name=n"].iter().enumerate()
    {
        let mut reader = EventSource::open(http, &format!("/events?{query}&format=jsonl"), &[]).await;
        assert_eq!(reader.line().await, "{\"subscribed\":{}}\n", "{number}");
        readers.push(reader);
    }
    assert_eq!(host.post("/events?tag=reader=all&wait=routed", "to all").await.json()["receivers"], 3);
    for reader in &mut readers {
        assert!(reader.line().await.contains("to all"));
    }
    assert_eq!(connections(), before + 1);
    drop(readers);
    agent.stop(LONG).await;
    let again = host.agent(&routers).await;
    let answer =
        post(again.addresses().http.unwrap(), "/events?tag=service=raid&wait=routed", &[], "x").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    again.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_hears_the_outcome_or_that_there_is_none_yet() {
    let host = Host::new("");
    let (_silent, nobody) = silence();
    let agent = host.agent(&nobody).await;
    let pending = host.post("/events?tag=a=b&wait=routed&timeout=1", "x").await;
    assert_eq!((pending.status, &pending.json()["outcome"]), (504, &json!("pending")), "{}", pending.body);
    let synced = host.post("/events?tag=a=b&sync=now", "x").await;
    assert_eq!(synced.status, 202, "{}", synced.body);
    agent.stop(LONG).await;
    let (_router, routers) = router();
    let mut stream = subscribe(&routers, "c=d").await;
    let agent = host.agent(&routers).await;
    let path = "/events?tag=c=d&wait=delivered";
    let (answer, taken) = tokio::join!(host.post(path, "taken"), event(&mut stream));
    assert_eq!((answer.status, &answer.json()["receivers"]), (202, &json!(1)), "{}", answer.body);
    assert_eq!(taken.1, "taken");
    for wrong in ["wait=none", "sync=later", "timeout=0"] {
        assert_eq!(host.post(&format!("/events?tag=a=b&{wrong}"), "").await.status, 400, "{wrong}");
    }
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_spool_sheds_is_told_by_its_ids() {
    const EVENTS: u64 = 300;
    let host = Host::new("spool.max_bytes = '10MiB'");
    let (_silent, nobody) = silence();
    let agent = host.agent(&nobody).await;
    let body = "x".repeat(60_000);
    for number in 0..EVENTS {
        let answer = host.post(&format!("/events?tag=service=raid&tag=n={number}"), &body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let name = format!("uid-{}", rustix::process::getuid().as_raw());
    // What was shed is told within a second, into the agent's own spool, for which more may be
    // shed.
    let told = async { while producer(&agent, "agent").await["pending"] == 0 {} };
    timeout(LONG, told).await.unwrap();
    let shed = producer(&agent, &name).await["shed"].as_u64().unwrap();
    assert!(shed > 0 && shed < EVENTS, "{shed}");
    agent.stop(LONG).await;
    let (_router, routers) = router();
    let (mut events, mut tellings) =
        (subscribe(&routers, "service=raid").await, subscribe(&routers, "millrace=agent,what=shed").await);
    let agent = host.agent(&routers).await;
    // Each has tags of its own, and events of different tags may pass each other.
    let mut kept = Vec::new();
    for _ in shed..EVENTS {
        let Some(Item::Event(event)) = timeout(LONG, events.next()).await.unwrap() else { panic!("a gap") };
        assert_eq!(event.tags.get("n"), Some(event.id.seq.to_string().as_str()));
        kept.push(event.id.seq);
    }
    kept.sort_unstable();
    assert_eq!(kept, (shed..EVENTS).collect::<Vec<_>>());
    let mut counted = 0;
    while counted < shed {
        let (tags, said) = event(&mut tellings).await;
        assert!(tags.contains(&format!("producer={name}")) && tags.contains("fqdn=web-1.example"), "{tags}");
        let said: Value = serde_json::from_str(&said).unwrap();
        for range in said["ranges"].as_array().unwrap() {
            assert_eq!(range[0], counted, "{said}");
            counted = range[1].as_u64().unwrap() + 1;
        }
    }
    assert_eq!(counted, shed);
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_does_not_shed_what_is_old_says_no() {
    for (on_full, error) in [("shed-newest", "shed"), ("refuse", "spool_full")] {
        let host = Host::new(&format!("spool.max_bytes = '10MiB'\nspool.on_full = '{on_full}'"));
        let (_silent, nobody) = silence();
        let agent = host.agent(&nobody).await;
        let body = "x".repeat(900_000);
        let mut taken = 0;
        let refused = loop {
            let answer = host.post("/events?tag=service=raid", &body).await;
            if answer.status != 202 {
                break answer;
            }
            taken += 1;
            assert!(taken < 20, "nothing is refused");
        };
        assert_eq!((refused.status, &refused.json()["error"]), (507, &json!(error)), "{}", refused.body);
        let name = format!("uid-{}", rustix::process::getuid().as_raw());
        let own = producer(&agent, &name).await;
        assert_eq!(
            (&own["pending"], own["shed"].as_u64()),
            (&json!(taken), Some(u64::from(error == "shed")))
        );
        drop(agent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_subscription_goes_on_where_it_was() {
    let host = Host::new("");
    let (_router, routers) = router();
    let agent = host.agent(&routers).await;
    let http = agent.addresses().http.unwrap();
    let path = "/events?name=raid-watch&select=service=raid";
    let mut first = EventSource::open(http, path, &[]).await;
    assert_eq!(first.next().await.unwrap().0, "subscribed");
    host.post("/events?tag=service=raid&wait=routed", "one").await;
    assert!(first.next().await.unwrap().2.contains("\"one\""));
    let taken = get(http, path).await;
    assert_eq!(taken.status, 409, "{}", taken.body);
    drop(first);
    host.post("/events?tag=service=raid&wait=routed", "two").await;
    // The first reader's connection has ended when the name is free.
    let mut second = loop {
        let mut source = EventSource::open(http, path, &[]).await;
        if let Some(beginning) = source.next().await {
            assert_eq!(beginning.0, "subscribed");
            break source;
        }
    };
    let mut seen = Vec::new();
    while !seen.iter().any(|data: &String| data.contains("\"two\"")) {
        seen.push(second.next().await.unwrap().2);
    }
    assert!(seen.len() <= 2, "{seen:?}");
    for wrong in ["name=..%2Fx&select=*", "name=a&select=((", "name=a"] {
        assert_eq!(get(http, &format!("/events?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_messages_are_spooled_and_name_the_host_that_the_agent_knows() {
    let host = Host::new("");
    let (_router, routers) = router();
    let mut stream = subscribe(&routers, "app=raid").await;
    let agent = host.agent(&routers).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = agent.addresses().syslog_udp.unwrap();
    socket.send_to(b"<13>1 - liar raid - - [x fqdn=\"liar\"] degraded", at).unwrap();
    let (tags, payload) = event(&mut stream).await;
    assert!(tags.contains("fqdn=web-1.example") && tags.contains("host=liar"), "{tags}");
    assert_eq!(payload, "degraded");
    assert_eq!(producer(&agent, "syslog").await["published"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_has_a_spool_and_a_killed_one_leaves_no_socket_in_the_way() {
    let host = Host::new("");
    let (_silent, nobody) = silence();
    let agent = host.agent(&nobody).await;
    let mut file = AgentFile::default();
    file.spool.folder = Some(host.path().join("spool"));
    file.unix.listen = Some(host.path().join("agent.sock").display().to_string());
    let second = Agent::start(AgentSettings::of(&file.complete("b")).unwrap()).await.unwrap_err();
    assert!(second.to_string().contains("in use by another agent"), "{second}");
    agent.stop(LONG).await;
    // What is left of an agent that was killed.
    let path = host.path().join("agent.sock");
    let left = std::fs::remove_file(&path).and_then(|()| std::os::unix::net::UnixListener::bind(&path));
    drop(left);
    let agent = host.agent(&nobody).await;
    assert_eq!(host.post("/events?tag=a=b", "x").await.status, 202);
    agent.stop(LONG).await;
    assert!(!path.exists());
}
