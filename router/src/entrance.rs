//! Settings with which new connections begin, in both directions, who may do what, and the tag
//! rules. A reload replaces them on every core; open connections keep theirs, but for their rights.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use millrace_engine::rights::{Meters, Roll};
use millrace_engine::rules::RuleSet;
use millrace_proto::ALPN_PEER;
use millrace_quic::{ClientSettings, Keys, ServerSettings, TransportSettings, WideProtocol};

use crate::config::RouterConfig;
use crate::start_error::StartError;
use crate::tls::{Identity, client_config, resumption, server_config};

/// How connections are accepted and dialled.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    /// Settings of accepted connections.
    pub(crate) server: ServerSettings,
    /// Settings of lanes that are dialled.
    pub(crate) dialling: Arc<ClientSettings>,
    /// Whether clients without a certificate are refused before they can show a token.
    pub(crate) require_client_certificate: bool,
    /// Who may do what.
    pub(crate) roll: Arc<Roll>,
    /// Tags that are added to events.
    pub(crate) rules: Arc<RuleSet>,
}

impl Entrance {
    /// From the settings and the identity in them; `meters` count what identities take.
    ///
    /// # Errors
    ///
    /// [`StartError::Identity`] or [`StartError::Quic`].
    pub(crate) fn of(config: &RouterConfig, keys: &Keys, meters: &Arc<Meters>) -> Result<Self, StartError> {
        let tls = server_config(&config.identity)?;
        let mut server = ServerSettings::new(tls, TransportSettings::client_facing(), keys.clone());
        server.resumption = Some(resumption(&config.identity)?);
        server.admission = config.admission();
        server.newcomers = config.newcomers();
        server.wide = Some(WideProtocol { alpn: ALPN_PEER.to_vec(), transport: TransportSettings::lane() });
        let dialling = ClientSettings::new(client_config(&config.identity)?, TransportSettings::lane())?;
        let require_client_certificate = config.require_client_certificate && config.tokens.is_empty();
        let roll = Arc::new(Roll { meters: Arc::clone(meters), ..config.roll()? });
        let rules = Arc::new(config.rule_set()?);
        Ok(Self { server, dialling: Arc::new(dialling), require_client_certificate, roll, rules })
    }
}

/// The router's keys. They are derived from host name and bound address besides the advertised
/// address: these stay the same over a restart, and differ where a copied setting makes two routers
/// advertise one address, so that neither can reset the other's connections.
pub(crate) fn quic_keys(identity: &Identity, advertise: &str, addr: SocketAddr) -> Keys {
    let host = rustix::system::uname();
    let place = format!("{advertise}\0{}\0{addr}", host.nodename().to_string_lossy());
    let keys = Keys::derive(identity.secret(), &place);
    match identity.previous_secret() {
        Some(previous) => keys.accepting(previous),
        None => keys,
    }
}

/// Where a lane's socket binds: the router's own address where that can reach the remote, else any.
pub(crate) fn lane_address(local: SocketAddr, remote: SocketAddr) -> SocketAddr {
    let reaches =
        local.is_ipv4() == remote.is_ipv4() && (!local.ip().is_loopback() || remote.ip().is_loopback());
    let ip: IpAddr = match (reaches, remote.is_ipv4()) {
        (true, _) => local.ip(),
        (false, true) => Ipv4Addr::UNSPECIFIED.into(),
        (false, false) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}
