//! One cluster of the ring: a router process, a publisher and a receiver.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use millrace_client::{
    Client, Config, Connections, PublishError, Publisher, PublisherOptions, ReceiverConnection,
    ReceiverOptions, TagHandle, TagSet, Trust,
};
use millrace_verify::payload::{PAYLOAD_BYTES_MIN, Stamp};
use serde_json::Value;

use super::hearing::{Hearing, hear};
use super::settings::{ForwardSettings, TAG};
use crate::clock::Clock;
use crate::cluster::RouterProcess;
use crate::features::error::FeatureError;

/// Longest pause between attempts to reach a router that was killed.
const BACKOFF_MAX: Duration = Duration::from_millis(200);
/// How long a router may take to welcome the first client.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Events cross at once: they do not wait for company as long as usual.
const LINGER: Duration = Duration::from_millis(1);

/// A cluster.
pub(super) struct Site {
    number: u32,
    folder: PathBuf,
    arguments: Vec<String>,
    /// None: it is away.
    router: Option<RouterProcess>,
    /// Those who publish and receive in it.
    clients: Option<Clients>,
}

struct Clients {
    publisher: Publisher,
    handle: TagHandle,
    hearing: Rc<RefCell<Hearing>>,
    payload: [u8; PAYLOAD_BYTES_MIN],
}

impl Site {
    /// Starts the router of a cluster, with links to all others.
    pub(super) fn start(
        number: u32,
        plan: &ForwardSettings,
        addresses: &[SocketAddr],
        folder: &Path,
    ) -> Result<Self, FeatureError> {
        let mut settings = format!("cluster = \"{:016x}\"\n", number + 1);
        for (far, address) in addresses.iter().enumerate().filter(|&(far, _)| far != number as usize) {
            for link in 0..plan.links {
                // Writing to memory does not fail.
                let _ = write!(
                    settings,
                    "[[forward]]\nname = \"cluster-{far}-{link}\"\nto = \"{address}\"\nselect = [\"*\"]\n"
                );
            }
        }
        settings.push_str("[[accept]]\nidentity = \"*\"\n");
        let path = folder.join(format!("cluster-{number}.toml"));
        std::fs::write(&path, settings)?;
        let arguments: Vec<String> = [
            "--config".to_owned(),
            path.display().to_string(),
            "--listen".to_owned(),
            addresses[number as usize].to_string(),
            "--cores".to_owned(),
            plan.cores.to_string(),
        ]
        .into();
        let router = RouterProcess::start_as(&arguments, folder)?;
        Ok(Self { number, folder: folder.to_owned(), arguments, router: Some(router), clients: None })
    }

    /// Connects those who publish and receive.
    pub(super) async fn connect(&mut self, clock: Clock) -> Result<(), FeatureError> {
        let Some(router) = &self.router else { return Ok(()) };
        let config = Config::new([router.addr.to_string().parse().map_err(FeatureError::client)?])
            .trust(Trust::File(router.ca.clone()))
            .backoff_max(BACKOFF_MAX)
            .connect_within(CONNECT_WITHIN);
        let client = Client::new(config).map_err(FeatureError::client)?;
        let options = ReceiverOptions::default().connection(ReceiverConnection::Own);
        let receiver = client.receiver(options).await.map_err(FeatureError::client)?;
        let mut subscription = receiver.subscribe([TAG]).map_err(FeatureError::client)?;
        subscription.in_cluster().await.map_err(FeatureError::client)?;
        let hearing: Rc<RefCell<Hearing>> = Rc::default();
        tokio::task::spawn_local(hear(receiver, self.number, clock, Rc::clone(&hearing)));
        let options = PublisherOptions::default().connections(Connections::One).linger(LINGER);
        let publisher = client.publisher(options).await.map_err(FeatureError::client)?;
        let site = format!("site={}", self.number);
        let tags = TagSet::from_texts([TAG, site.as_str()]).map_err(FeatureError::client)?;
        let handle = publisher.register(&tags).map_err(FeatureError::client)?;
        self.clients = Some(Clients { publisher, handle, hearing, payload: [b'.'; PAYLOAD_BYTES_MIN] });
        Ok(())
    }

    /// Kills the router (SIGKILL).
    pub(super) fn kill(&mut self) {
        if let Some(router) = self.router.take() {
            router.kill();
        }
    }

    /// Starts the router again, where it was.
    pub(super) fn restart(&mut self) -> Result<(), FeatureError> {
        self.router = Some(RouterProcess::start_as(&self.arguments, &self.folder)?);
        Ok(())
    }

    /// What its receiver has got.
    pub(super) fn hearing(&self) -> Rc<RefCell<Hearing>> {
        self.clients.as_ref().map(|clients| Rc::clone(&clients.hearing)).unwrap_or_default()
    }

    /// Publishes an event. False when the publisher's queue is full.
    pub(super) fn publish(&mut self, emitter: u32, n: u64, now_us: u64) -> Result<bool, FeatureError> {
        let Some(Clients { publisher, handle, payload, .. }) = &mut self.clients else { return Ok(false) };
        let stamp = Stamp { emitter, n, scheduled_ns: now_us * 1_000 };
        stamp.stamp_again(payload).map_err(FeatureError::client)?;
        match publisher.try_publish(*handle, *payload) {
            Ok(_) => Ok(true),
            Err(PublishError::WouldBlock) => Ok(false),
            Err(error) => Err(FeatureError::client(error)),
        }
    }

    /// Its links, as the router's page says; empty while it is away.
    pub(super) fn links(&self) -> Vec<Value> {
        let page = self.router.as_ref().and_then(|router| router.page("forwards").ok()).unwrap_or_default();
        let json = page.find('{').and_then(|at| page.rfind('}').map(|end| &page[at..=end]));
        let json: Value = json.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        json["links"].as_array().cloned().unwrap_or_default()
    }
}
