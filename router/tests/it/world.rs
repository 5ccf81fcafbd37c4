//! Routers in this process, and clients of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use millrace_client::{
    Client, Config, Event, GapReason, Item, Publisher, PublisherOptions, Receiver, ReceiverOptions, TagSet,
    Trust,
};
use millrace_router::{DevAuthority, Router, RouterConfig, RouterHandle};

/// Longer than anything here takes, on a busy machine, too.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// One authority, and the routers that it speaks for.
pub(crate) struct World {
    pub(crate) authority: DevAuthority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { authority: DevAuthority::new().unwrap() }
    }

    pub(crate) fn config(&self, name: &str) -> RouterConfig {
        let mut config = RouterConfig::new(self.authority.router(name, &[]).unwrap());
        config.name = Some(name.to_owned());
        config.mesh.join_timeout = Duration::from_secs(2);
        config.mesh.ping_every = Duration::from_millis(50);
        config.mesh.suspect_after = Duration::from_millis(500);
        config.mesh.redial_min = Duration::from_millis(20);
        config.mesh.redial_max = Duration::from_millis(200);
        config
    }

    pub(crate) fn router(&self, name: &str) -> RouterHandle {
        Router::start(self.config(name)).unwrap()
    }

    /// A router that knows another one.
    pub(crate) fn joining(&self, name: &str, other: &RouterHandle) -> RouterHandle {
        let mut config = self.config(name);
        config.mesh.seeds = vec![other.addr().to_string()];
        Router::start(config).unwrap()
    }

    pub(crate) fn client(&self, router: &RouterHandle) -> Client {
        let config = Config::new([router.addr().to_string().parse().unwrap()])
            .trust(Trust::Pem(router.ca_pem().as_bytes().to_vec()));
        Client::new(config).unwrap()
    }
}

/// What an operator would make for a router: authority, certificate and key, as PEM.
pub(crate) struct Certificates {
    pub(crate) ca: String,
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Certificates {
    /// For a router under these names.
    pub(crate) fn new(hosts: &[&str]) -> Self {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(hosts).unwrap();
        let role = rcgen::SanType::URI("millrace://router/one".try_into().unwrap());
        params.subject_alt_names.push(role);
        Self { ca, cert: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

pub(crate) fn tags(texts: &[&str]) -> TagSet {
    TagSet::from_texts(texts.iter().copied()).unwrap()
}

pub(crate) async fn publisher(client: &Client) -> Publisher {
    within(client.publisher(PublisherOptions::default())).await.unwrap()
}

pub(crate) async fn receiver(client: &Client, selectors: &[&str]) -> Receiver {
    let receiver = within(client.receiver(ReceiverOptions::default())).await.unwrap();
    let mut subscription = receiver.subscribe(selectors).unwrap();
    let coverage = within(subscription.in_cluster()).await.unwrap();
    assert!(coverage.is_whole(), "routers were left out: {coverage:?}");
    receiver
}

/// The next event; gaps fail the test.
pub(crate) async fn event(receiver: &mut Receiver) -> Event {
    match within(receiver.next()).await.unwrap() {
        Item::Event(event) => event,
        Item::Gap(gap) => panic!("a gap: {gap:?}"),
        other => panic!("{other:?}"),
    }
}

/// The next event behind a gap with this reason; other events before are skipped.
pub(crate) async fn gap(receiver: &mut Receiver, reasons: &[GapReason]) {
    loop {
        match within(receiver.next()).await.unwrap() {
            Item::Gap(gap) if reasons.contains(&gap.reason) => return,
            _ => {}
        }
    }
}

/// A future that must not take long.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("it takes too long")
}

/// Both know each other, and all lanes are up.
pub(crate) fn linked(routers: &[&RouterHandle]) {
    for router in routers {
        router
            .wait_until(LONG, |seen| {
                let linked = |peer: &&millrace_engine::control::PeerStatus| peer.state.name() == "linked";
                seen.status.peers.iter().filter(linked).count() == routers.len() - 1 && seen.status.ready()
            })
            .unwrap();
    }
}

/// One page of an admin page: code and body.
pub(crate) fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    get_as(addr, path, "*/*")
}

/// The same, in a form that is asked for.
pub(crate) fn get_as(addr: SocketAddr, path: &str, accept: &str) -> (u16, String) {
    let (status, _, body) = get_with(addr, path, &format!("Host: localhost\r\nAccept: {accept}\r\n"));
    (status, body)
}

/// The same with header lines of one's own: status, head and body.
pub(crate) fn get_with(addr: SocketAddr, path: &str, headers: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, head.to_owned(), body.to_owned())
}
