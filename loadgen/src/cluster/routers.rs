//! The routers that a run uses: how they are started or found, and what clients need to connect to
//! them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_client::{AddressError, RouterAddress};
use millrace_engine::control::PeerState;
use millrace_proto::ALPN_CLIENT;
use millrace_quic::{ClientSettings, TransportSettings, tls};
use millrace_router::{DevAuthority, Pinning, Router, RouterConfig, RouterHandle};
use rustls::client::Resumption;
use rustls_pki_types::CertificateDer;

use super::certificates::{certificates, read_certificates};
use super::cores::CoreUse;
use super::counters::{Counters, MOVED, SHOWN, UnderWay, Usage, WAITING, add_core, sum};
use super::error::{ClusterError, LINK_MAX};
use super::process::RouterProcess;
use super::reloads::Reloads;
use crate::chaos::{Proxy, Treated, Weather};
use crate::clock::Clock;
use crate::fleet::Target;
use crate::scenario::Scenario;

/// Where routers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In this process.
    Embedded,
    /// In processes that this one started.
    Processes,
    /// Somewhere: nothing is known of what they use.
    Elsewhere,
}

#[derive(Debug)]
enum Routers {
    Embedded(Vec<RouterHandle>),
    /// With the folder of their certificates.
    Processes(Vec<RouterProcess>, PathBuf),
    Elsewhere,
}

/// Routers to run a scenario on.
#[derive(Debug)]
pub struct Cluster {
    routers: Routers,
    targets: Vec<Target>,
    /// What stands between receivers and routers, if anything does.
    proxy: Option<Proxy>,
    ca: Vec<CertificateDer<'static>>,
    ca_pem: Vec<u8>,
}

impl Cluster {
    /// Starts `routers` routers of `cores` cores in this process and waits until all are linked
    /// with all.
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
        let ca_pem = authority.ca_pem().as_bytes().to_vec();
        let ca = certificates(&ca_pem, Path::new("the embedded authority"))?;
        Ok(Self { routers: Routers::Embedded(embedded), targets, proxy: None, ca, ca_pem })
    }

    /// Starts `routers` processes, each a router of `cores` cores, and waits until all are linked
    /// with all.
    ///
    /// # Errors
    /// [`ClusterError::Start`], [`ClusterError::Link`], [`ClusterError::Ca`].
    pub fn processes(routers: u16, cores: u16) -> Result<Self, ClusterError> {
        Self::processes_with(routers, cores, &[])
    }

    /// The same, each router with these options of `millrace-router`.
    ///
    /// # Errors
    /// [`ClusterError::Start`], [`ClusterError::Link`], [`ClusterError::Ca`].
    pub fn processes_with(routers: u16, cores: u16, options: &[&str]) -> Result<Self, ClusterError> {
        Self::processes_in(routers, cores, options, own_folder()?)
    }

    /// The same, with a configuration file that can be changed while they run.
    ///
    /// # Errors
    /// [`ClusterError::Start`], [`ClusterError::Link`], [`ClusterError::Ca`].
    pub fn reloadable(routers: u16, cores: u16, file: &str) -> Result<Self, ClusterError> {
        let folder = own_folder()?;
        let failed = |reason: String| ClusterError::Start(reason);
        let path = Reloads::begin(&folder, file).map_err(|error| failed(error.to_string()))?;
        let path = path.to_str().ok_or_else(|| failed("the path of its file is no text".to_owned()))?;
        Self::processes_in(routers, cores, &["--config", path], folder)
    }

    fn processes_in(
        routers: u16,
        cores: u16,
        options: &[&str],
        folder: PathBuf,
    ) -> Result<Self, ClusterError> {
        let mut started: Vec<RouterProcess> = Vec::new();
        for _ in 0..routers {
            let seeds: Vec<String> = started.iter().map(|router| router.addr.to_string()).collect();
            started.push(RouterProcess::start(cores, &seeds, options, &folder)?);
        }
        let begun = Instant::now();
        while started.iter().any(|router| router.linked() + 1 < u64::from(routers)) {
            if begun.elapsed() > LINK_MAX {
                return Err(ClusterError::Link);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let target =
            |router: &RouterProcess| Target { address: router.addr, server_name: "localhost".to_owned() };
        let targets = started.iter().map(target).collect();
        let path = started.first().map(|router| router.ca.clone()).unwrap_or_default();
        let (ca, ca_pem) = read_certificates(&path)?;
        Ok(Self { routers: Routers::Processes(started, folder), targets, proxy: None, ca, ca_pem })
    }

    /// Uses the routers at these addresses. Without `ca`, the dev mode's certificates of this host
    /// are trusted.
    ///
    /// # Errors
    /// [`ClusterError::Resolve`], [`ClusterError::Ca`], [`ClusterError::NoCa`].
    pub fn external(addresses: &[String], ca: Option<&Path>) -> Result<Self, ClusterError> {
        let mut targets = Vec::new();
        for address in addresses {
            let failed = |reason: String| ClusterError::Resolve { address: address.clone(), reason };
            let router: RouterAddress =
                address.parse().map_err(|error: AddressError| failed(error.to_string()))?;
            let resolved = (router.host(), router.port())
                .to_socket_addrs()
                .map_err(|error| failed(error.to_string()))?;
            let server_name = router.server_name().to_owned();
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
        let (ca, ca_pem) = read_certificates(&path)?;
        Ok(Self { routers: Routers::Elsewhere, targets, proxy: None, ca, ca_pem })
    }

    /// The same, with a network of this `weather` between receivers and these routers, which are on
    /// this host.
    ///
    /// # Errors
    /// [`ClusterError::Start`] when there are no sockets for it.
    pub fn in_weather(mut self, weather: Weather, seed: u64) -> Result<Self, ClusterError> {
        let routers = u16::try_from(self.targets.len()).unwrap_or(u16::MAX);
        let proxy = Proxy::start(routers, weather, seed, Clock::start())
            .map_err(|error| ClusterError::Start(error.to_string()))?;
        for (router, target) in (0..routers).zip(&self.targets) {
            proxy.aim(router, target.address);
        }
        self.proxy = Some(proxy);
        Ok(self)
    }

    /// Where the routers are.
    #[must_use]
    pub const fn home(&self) -> Home {
        match self.routers {
            Routers::Embedded(_) => Home::Embedded,
            Routers::Processes(..) => Home::Processes,
            Routers::Elsewhere => Home::Elsewhere,
        }
    }

    /// The authorities that clients trust, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &[u8] {
        &self.ca_pem
    }

    /// Where to connect.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Where receivers connect: behind the network that stands before the routers.
    #[must_use]
    pub fn targets_of_receivers(&self) -> Vec<Target> {
        let Some(proxy) = &self.proxy else { return self.targets.clone() };
        let fronts = proxy.fronts().into_iter().zip(&self.targets);
        fronts.map(|(address, target)| Target { address, ..target.clone() }).collect()
    }

    /// What the network between receivers and routers did so far; none without one.
    #[must_use]
    pub fn treated(&self) -> Option<Treated> {
        self.proxy.as_ref().map(Proxy::treated)
    }

    /// TLS and transport of connections that receive, and of those that publish.
    ///
    /// # Errors
    /// [`ClusterError::Tls`], [`ClusterError::Settings`].
    pub fn clients(&self, scenario: &Scenario) -> Result<[Arc<ClientSettings>; 2], ClusterError> {
        let streams = scenario.workload.receivers.div_ceil(scenario.receiver_connections.max(1)).max(1);
        // Sessions ping, which says more: QUIC need not, but where there are many connections.
        let keep_alive = scenario.own_connections.then_some(scenario.keep_alive);
        let common = TransportSettings {
            uni_streams: streams,
            bidi_streams: 1,
            keep_alive,
            stream_receive_window_bytes: 1 << 20,
            receive_window_bytes: 8 << 20,
            ..TransportSettings::client_facing()
        };
        let lone = TransportSettings { keep_alive, ..TransportSettings::lone_emitters() };
        let (receiving, publishing) = if scenario.lone_emitters {
            (TransportSettings { uni_streams: streams, ..lone.clone() }, lone)
        } else {
            (common.clone(), common)
        };
        let client = |transport| self.client(transport, Resumption::disabled());
        Ok([client(receiving)?, client(publishing)?])
    }

    /// Connections with this transport, which resume TLS sessions or make each handshake in full.
    ///
    /// # Errors
    /// [`ClusterError::Tls`], [`ClusterError::Settings`].
    pub fn client(
        &self,
        transport: TransportSettings,
        resumption: Resumption,
    ) -> Result<Arc<ClientSettings>, ClusterError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in &self.ca {
            roots.add(certificate.clone())?;
        }
        Ok(Arc::new(ClientSettings::new(believing(roots, resumption)?, transport)?))
    }

    /// TLS of a client that believes no router.
    ///
    /// # Errors
    /// [`ClusterError::Tls`].
    pub(crate) fn distrustful() -> Result<Arc<rustls::ClientConfig>, ClusterError> {
        believing(rustls::RootCertStore::empty(), Resumption::disabled())
    }

    /// How to have the routers read their settings anew; none unless they are
    /// [`reloadable`](Self::reloadable).
    #[must_use]
    pub(crate) fn reloads(&self) -> Option<Reloads> {
        match &self.routers {
            Routers::Processes(routers, folder) => {
                Reloads::of(folder, routers.iter().map(|router| router.admin).collect())
            }
            Routers::Embedded(_) | Routers::Elsewhere => None,
        }
    }

    /// What the routers have used so far. Cheap for processes; embedded cores are asked, which
    /// takes a turn of each.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        match &self.routers {
            Routers::Embedded(routers) => {
                for core in routers.iter().flat_map(RouterHandle::cores) {
                    usage.cpu_ns += u64::try_from(core.cpu.as_nanos()).unwrap_or(u64::MAX);
                }
            }
            Routers::Processes(routers, _) => routers.iter().for_each(|router| router.add_usage(&mut usage)),
            Routers::Elsewhere => {}
        }
        usage
    }

    /// What the routers have counted so far; nothing, for those elsewhere.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let (all, dropped, cores) = self.look();
        if all.is_empty() {
            return Counters::default();
        }
        let counted = SHOWN.iter().map(|&(shown, names)| (shown.to_owned(), sum(&all, names))).collect();
        Counters { counted, dropped, cores }
    }

    /// All counters and levels of the routers by their names in `/metrics`; none of those
    /// elsewhere.
    #[must_use]
    pub fn counted(&self) -> BTreeMap<String, u64> {
        self.look().0
    }

    /// What goes on in the routers at this moment; nothing is known of those elsewhere.
    #[must_use]
    pub fn under_way(&self) -> UnderWay {
        let (all, ..) = self.look();
        UnderWay { moved_events: sum(&all, MOVED), waiting_bytes: sum(&all, WAITING) }
    }

    /// All counters by name, drops by reason, and cores.
    fn look(&self) -> (BTreeMap<String, u64>, BTreeMap<String, u64>, Vec<CoreUse>) {
        let mut all = BTreeMap::new();
        let mut dropped = BTreeMap::new();
        let mut cores = Vec::new();
        match &self.routers {
            Routers::Embedded(routers) => {
                for (number, router) in routers.iter().enumerate() {
                    for core in router.cores() {
                        add_core(&core, &mut all, &mut dropped);
                        cores.push(CoreUse::of(number, &core));
                    }
                }
            }
            Routers::Processes(routers, _) => {
                for (number, router) in routers.iter().enumerate() {
                    cores.extend(router.add_counters(number, &mut all, &mut dropped));
                }
            }
            Routers::Elsewhere => {}
        }
        (all, dropped, cores)
    }

    /// Kills the first router (SIGKILL), if it is a process; its target stays among the others.
    pub(crate) fn kill_first(&mut self) {
        if let Routers::Processes(routers, _) = &mut self.routers
            && !routers.is_empty()
        {
            routers.remove(0).kill();
        }
    }

    /// Clients of the first two routers, if they are processes.
    pub(crate) fn clients_of_both(&self) -> std::io::Result<[u64; 2]> {
        match &self.routers {
            Routers::Processes(routers, _) if routers.len() >= 2 => {
                Ok([routers[0].clients()?, routers[1].clients()?])
            }
            _ => Ok([0; 2]),
        }
    }

    /// Has the first router ask so many of its clients to go to the second one, if they are
    /// processes, as `millrace ctl rebalance` does.
    pub(crate) fn move_clients(&self, clients: u64, within: Duration) -> std::io::Result<()> {
        match &self.routers {
            Routers::Processes(routers, _) if routers.len() >= 2 => {
                routers[0].move_clients(clients, routers[1].addr, within)
            }
            _ => Ok(()),
        }
    }

    /// Ends what it started, in order.
    pub fn stop(self) {
        match self.routers {
            Routers::Embedded(routers) => {
                routers.iter().for_each(|router| router.stop(Duration::from_millis(200)));
            }
            Routers::Processes(routers, folder) => {
                drop(routers);
                // What stays behind among temporary files is the system's business.
                let _ = std::fs::remove_dir_all(folder);
            }
            Routers::Elsewhere => {}
        }
    }
}

/// A folder of this run, for what its router processes need.
fn own_folder() -> Result<PathBuf, ClusterError> {
    let folder = std::env::temp_dir().join(format!("millrace-loadgen-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| ClusterError::Start(error.to_string()))?;
    Ok(folder)
}

/// TLS of a client that believes these authorities.
fn believing(
    roots: rustls::RootCertStore,
    resumption: Resumption,
) -> Result<Arc<rustls::ClientConfig>, ClusterError> {
    let mut config = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = resumption;
    Ok(tls::client(config, &[ALPN_CLIENT]))
}
