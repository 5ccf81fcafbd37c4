//! The routers that a run uses: embedded ones, linked with each other, or those at given addresses.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_engine::control::PeerState;
use millrace_engine::core::DropReason;
use millrace_proto::ALPN_CLIENT;
use millrace_quic::{ClientSettings, SettingsError, TransportSettings, tls};
use millrace_router::{DevAuthority, Pinning, Router, RouterConfig, RouterHandle};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::fleet::Target;
use crate::scenario::Scenario;

/// How long routers may take to link up.
const LINK_MAX: Duration = Duration::from_secs(20);

/// Why there are no routers to use.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// An embedded router did not start.
    #[error("an embedded router does not start: {0}")]
    Start(String),
    /// Embedded routers did not link up.
    #[error("the embedded routers did not link up within {} s", LINK_MAX.as_secs())]
    Link,
    /// An address does not resolve.
    #[error("{address} does not resolve: {reason}; give HOST:PORT, such as 127.0.0.1:7400")]
    Resolve {
        /// The address.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The CA certificates cannot be read.
    #[error("cannot read CA certificates from {}: {reason}; name a PEM file with --ca", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No CA was given, and there is no dev mode's.
    #[error(
        "no CA certificates: start millrace-router in dev mode on this host, or name a PEM file with --ca"
    )]
    NoCa,
    /// TLS settings do not work.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Transport settings do not work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Routers to run a scenario on.
#[derive(Debug)]
pub struct Cluster {
    embedded: Vec<RouterHandle>,
    targets: Vec<Target>,
    ca: Vec<CertificateDer<'static>>,
}

/// What routers have counted that says where their time goes.
#[derive(Debug, Default, Clone)]
pub struct Stages {
    counters: BTreeMap<&'static str, u64>,
}

impl Stages {
    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let since = |(&name, &count): (&&'static str, &u64)| {
            (name, count.saturating_sub(before.counters.get(name).copied().unwrap_or(0)))
        };
        Self { counters: self.counters.iter().map(since).collect() }
    }

    /// Each counter divided by `events`.
    #[must_use]
    pub fn per_event(&self, events: f64) -> BTreeMap<String, f64> {
        self.counters.iter().map(|(&name, &count)| (name.to_owned(), count as f64 / events)).collect()
    }
}

impl Cluster {
    /// Starts `routers` routers of `cores` cores in this process and waits until all are linked with all.
    ///
    /// # Errors
    /// [`ClusterError::Start`], [`ClusterError::Link`].
    pub fn embed(routers: u16, cores: u16) -> Result<Self, ClusterError> {
        let start = |error: &dyn std::fmt::Display| ClusterError::Start(error.to_string());
        let authority = DevAuthority::new().map_err(|error| start(&error))?;
        let mut embedded: Vec<RouterHandle> = Vec::new();
        for number in 0..routers {
            let identity =
                authority.router(&format!("router-{number}"), &[]).map_err(|error| start(&error))?;
            let mut config = RouterConfig::new(identity);
            config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
            config.admin = None;
            config.cores = cores;
            config.pinning = Pinning::Off;
            config.mesh.seeds = embedded.iter().map(|router| router.addr().to_string()).collect();
            embedded.push(Router::start(config).map_err(|error| start(&error))?);
        }
        for router in &embedded {
            let linked = |seen: &millrace_router::Seen| {
                let linked = seen.status.peers.iter().filter(|peer| peer.state == PeerState::Linked).count();
                linked + 1 == usize::from(routers) && seen.status.synced
            };
            router.wait_until(LINK_MAX, linked).map_err(|_| ClusterError::Link)?;
        }
        let targets = embedded
            .iter()
            .map(|router| Target { address: router.addr(), server_name: "localhost".to_owned() })
            .collect();
        let ca = certificates(authority.ca_pem().as_bytes(), Path::new("the embedded authority"))?;
        Ok(Self { embedded, targets, ca })
    }

    /// Uses the routers at these addresses. Without `ca`, the dev mode's certificates of this host are trusted.
    ///
    /// # Errors
    /// [`ClusterError::Resolve`], [`ClusterError::Ca`], [`ClusterError::NoCa`].
    pub fn external(addresses: &[String], ca: Option<&Path>) -> Result<Self, ClusterError> {
        let mut targets = Vec::new();
        for address in addresses {
            let failed = |reason: String| ClusterError::Resolve { address: address.clone(), reason };
            let resolved = address.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
            let (host, _) = address.rsplit_once(':').unwrap_or((address, ""));
            let server_name = host.trim_matches(['[', ']']).to_owned();
            let before = targets.len();
            targets.extend(resolved.map(|address| Target { address, server_name: server_name.clone() }));
            if targets.len() == before {
                return Err(failed("it has no address".into()));
            }
        }
        let path = match ca {
            Some(path) => path.to_owned(),
            None => millrace_client::dev::ca_path().ok_or(ClusterError::NoCa)?,
        };
        let pem = std::fs::read(&path)
            .map_err(|error| ClusterError::Ca { path: path.clone(), reason: error.to_string() })?;
        Ok(Self { embedded: Vec::new(), targets, ca: certificates(&pem, &path)? })
    }

    /// Whether the routers are in this process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        !self.embedded.is_empty()
    }

    /// Where to connect.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// TLS and transport of the fleet's connections.
    ///
    /// # Errors
    /// [`ClusterError::Tls`], [`ClusterError::Settings`].
    pub fn client(&self, scenario: &Scenario) -> Result<Arc<ClientSettings>, ClusterError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in &self.ca {
            roots.add(certificate.clone())?;
        }
        let config = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let streams = scenario.workload.receivers.div_ceil(scenario.receiver_connections.max(1));
        let transport = TransportSettings {
            uni_streams: streams.max(1),
            bidi_streams: 1,
            keep_alive: Some(Duration::from_secs(10)),
            stream_receive_window_bytes: 1 << 20,
            receive_window_bytes: 8 << 20,
            ..TransportSettings::client_facing()
        };
        Ok(Arc::new(ClientSettings::new(tls::client(config, &[ALPN_CLIENT]), transport)?))
    }

    /// CPU time of the embedded routers' cores, nanoseconds.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        let cores = self.embedded.iter().flat_map(RouterHandle::cores);
        cores.map(|core| u64::try_from(core.cpu.as_nanos()).unwrap_or(u64::MAX)).sum()
    }

    /// Events that embedded routers dropped, by reason.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        let mut dropped = BTreeMap::new();
        for core in self.embedded.iter().flat_map(RouterHandle::cores) {
            for reason in DropReason::ALL {
                let count = core.engine.dropped[reason as usize];
                if count > 0 {
                    *dropped.entry(reason.name().to_owned()).or_insert(0) += count;
                }
            }
        }
        dropped
    }

    /// What embedded routers have counted.
    #[must_use]
    pub fn stages(&self) -> Stages {
        let mut counters: BTreeMap<&'static str, u64> = BTreeMap::new();
        for core in self.embedded.iter().flat_map(RouterHandle::cores) {
            for (name, count) in [
                ("router datagrams in", core.quic.datagrams_in),
                ("router datagrams out", core.quic.datagrams_out),
                ("router receive calls", core.quic.receive_calls),
                ("router send calls", core.quic.send_calls),
                ("router turns", core.quic.turns),
                ("events across lanes", core.engine.events_to_peers),
                ("events across cores", core.engine.events_to_siblings),
                ("packets lost", core.packets_lost),
                ("routes found unchanged", core.routes.hits + core.routes.confirmed),
                ("routes patched", core.routes.unconcerned + core.routes.patched),
                ("routes rebuilt", core.routes.rebuilt + core.routes.added),
            ] {
                *counters.entry(name).or_insert(0) += count;
            }
        }
        Stages { counters }
    }

    /// Ends embedded routers in order.
    pub fn stop(self) {
        for router in self.embedded {
            router.stop(Duration::from_millis(200));
        }
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, ClusterError> {
    let wrong = |reason: String| ClusterError::Ca { path: path.to_owned(), reason };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("there is no certificate in it".into()));
    }
    Ok(certificates)
}
