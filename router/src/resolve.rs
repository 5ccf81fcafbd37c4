//! Names to addresses: seeds and routes of the mesh, and targets of dials. Runs on the control
//! thread, never on a core.
//!
//! The system resolves addresses (files, DNS search domains and all); DNS itself resolves SRV
//! names, which begin with an underscore. Where the settings name DNS servers, these resolve both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use millrace_proto::DEFAULT_PORT;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::MeshSettings;
use crate::mail::{Addresses, Input};

/// The longest time that one name may take.
const LOOKUP_MAX: Duration = Duration::from_secs(4);
/// Addresses taken from one name.
const ADDRESSES_MAX: usize = 256;

/// Looks names up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver {
    /// Whether IPv6 addresses are left out, because the router is bound to IPv4.
    pub(crate) ipv4_only: bool,
    /// DNS servers; none: the system's.
    pub(crate) servers: Arc<[SocketAddr]>,
}

impl Resolver {
    /// One of the addresses of `host:port`; another one with each `attempt`.
    pub(crate) async fn resolve_one(&self, target: &str, attempt: u64) -> Option<SocketAddr> {
        let all = self.addresses(target).await?;
        let index = attempt % u64::try_from(all.len()).ok()?.max(1);
        all.into_iter().nth(usize::try_from(index).ok()?)
    }

    async fn addresses(&self, target: &str) -> Option<Vec<SocketAddr>> {
        let found = match target.parse() {
            Ok(address) => vec![address],
            Err(_) => timeout(LOOKUP_MAX, self.look_up(target)).await.ok()??,
        };
        let usable = |address: &SocketAddr| !self.ipv4_only || address.is_ipv4();
        let found: BTreeSet<SocketAddr> = found.into_iter().filter(usable).collect();
        Some(found.into_iter().collect())
    }

    /// The addresses of the host in `host:port`, A and AAAA.
    async fn look_up(&self, target: &str) -> Option<Vec<SocketAddr>> {
        if self.servers.is_empty() {
            let found = tokio::net::lookup_host(target.to_owned()).await.ok()?;
            return Some(found.take(ADDRESSES_MAX).collect());
        }
        let (host, port) = target.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let found = self.dns()?.lookup_ip(host).await.ok()?;
        Some(found.iter().take(ADDRESSES_MAX).map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// A client of DNS, made for each lookup because names are looked up when they may have changed
    /// and nothing is to be cached.
    fn dns(&self) -> Option<TokioResolver> {
        if self.servers.is_empty() {
            return TokioResolver::builder_tokio().ok()?.build().ok();
        }
        let servers = self.servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        builder.build().ok()
    }

    /// All addresses of a seed, as `host:port`; `None` when the lookup failed.
    async fn seed(&self, seed: &str) -> Option<Vec<String>> {
        if seed.starts_with('_') {
            return self.services(seed).await;
        }
        let found = self.addresses(&with_port(seed)).await?;
        Some(found.into_iter().map(|address| address.to_string()).collect())
    }

    /// Targets of an SRV name (RFC 2782). Control dials all of them, so that priorities and weights
    /// do not matter.
    async fn services(&self, name: &str) -> Option<Vec<String>> {
        let lookup = timeout(LOOKUP_MAX, self.dns()?.srv_lookup(name)).await.ok()?.ok()?;
        let targets = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(service) => {
                let host = service.target.to_string();
                Some(format!("{}:{}", host.trim_end_matches('.'), service.port))
            }
            _ => None,
        });
        Some(targets.take(ADDRESSES_MAX).collect())
    }
}

/// Where others may be, as the settings say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Places {
    /// `mesh.seeds`.
    pub(crate) seeds: Vec<String>,
    /// `mesh.routes`.
    pub(crate) routes: Vec<String>,
}

impl Places {
    /// From the settings.
    pub(crate) fn of(mesh: &MeshSettings) -> Self {
        Self { seeds: mesh.seeds.clone(), routes: mesh.routes.clone() }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.seeds.iter().chain(&self.routes)
    }
}

/// What was found at each place.
#[derive(Debug, Default)]
struct Found(BTreeMap<String, Vec<String>>);

impl Found {
    /// The addresses of these places.
    fn of(&self, places: &[String]) -> Vec<String> {
        let found: BTreeSet<&String> =
            places.iter().filter_map(|place| self.0.get(place)).flatten().collect();
        found.into_iter().cloned().collect()
    }

    fn addresses(&self, places: &Places) -> Addresses {
        let is_missing = |seed: &&String| self.0.get(*seed).is_none_or(Vec::is_empty);
        let unresolved = places.seeds.iter().filter(is_missing).count() as u64;
        Addresses { seeds: self.of(&places.seeds), routes: self.of(&places.routes), unresolved }
    }

    fn is_complete(&self, places: &Places) -> bool {
        places.all().all(|place| self.0.get(place).is_some_and(|found| !found.is_empty()))
    }
}

/// Looks seeds and routes up for ever, side by side, and tells control about each change: addresses
/// at once, and names when they have answered, so that a silent name server holds up no other. A
/// failed lookup keeps the addresses before it. Other settings count at once.
pub(crate) async fn watch_places(
    resolver: Resolver,
    mut settings: watch::Receiver<Places>,
    every: Duration,
    control: mpsc::Sender<Input>,
) {
    let mut known = Found::default();
    let mut told = None;
    loop {
        let places = settings.borrow_and_update().clone();
        known.0.retain(|place, _| places.all().any(|other| other == place));
        let mut lookups: JoinSet<(String, Option<Vec<String>>)> = JoinSet::new();
        for place in places.all() {
            if let Ok(address) = with_port(place).parse::<SocketAddr>() {
                known.0.insert(place.clone(), vec![address.to_string()]);
                continue;
            }
            let (resolver, place) = (resolver.clone(), place.clone());
            lookups.spawn(async move {
                let found = resolver.seed(&place).await;
                (place, found)
            });
        }
        loop {
            let news = known.addresses(&places);
            if told.as_ref() != Some(&news) {
                if control.send(Input::Places(news.clone())).await.is_err() {
                    return;
                }
                told = Some(news);
            }
            match lookups.join_next().await {
                None => break,
                Some(Ok((place, Some(found)))) => drop(known.0.insert(place, found)),
                Some(Ok((place, None))) => {
                    tracing::warn!(seed = %place, "cannot resolve this seed or route of the mesh; trying again");
                }
                Some(Err(_)) => {}
            }
        }
        let are_addresses = places.all().all(|place| with_port(place).parse::<SocketAddr>().is_ok());
        // Until each name has an answer, routers that start together look for each other often.
        let pause = if known.is_complete(&places) { every } else { every.min(Duration::from_millis(500)) };
        tokio::select! {
            changed = settings.changed() => if changed.is_err() {
                // The router has ended.
                return;
            },
            () = sleep(pause), if !are_addresses => {}
        }
    }
}

/// A seed without a port has the default one.
fn with_port(seed: &str) -> String {
    if seed.parse::<SocketAddr>().is_ok() {
        return seed.to_owned();
    }
    if seed.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{seed}]:{DEFAULT_PORT}");
    }
    match seed.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => seed.to_owned(),
        _ => format!("{seed}:{DEFAULT_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_added_where_there_is_none() {
        assert_eq!(with_port("mesh.example"), "mesh.example:7400");
        assert_eq!(with_port("mesh.example:1"), "mesh.example:1");
        assert_eq!(with_port("10.0.0.1"), "10.0.0.1:7400");
        assert_eq!(with_port("::1"), "[::1]:7400");
        assert_eq!(with_port("[::1]:5"), "[::1]:5");
    }
}
