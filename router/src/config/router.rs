//! The configuration of a router: settings that were checked, with the identity from its files.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_engine::control::ControlConfig;
use millrace_engine::core::{CoreConfig, SelectorLimits};
use millrace_engine::groups::GroupLimits;
use millrace_engine::history::HistoryLimits;
use millrace_engine::payload::ScanLimits;
use millrace_engine::rights::Roll;
use millrace_engine::routes::RouteCacheLimits;
use millrace_engine::rules::{RuleLimits, RuleSet};
use millrace_proto::ClusterId;
use millrace_proto::feature;
use millrace_proto::proof::TokenHash;
use millrace_proto::rule::{RuleText, Rules};
use millrace_quic::{Admission, CidShape, NewcomerLimits, SettingsError};
use thiserror::Error;

use super::accepts::AcceptEntry;
use super::forwards::ForwardEntry;
use super::identities::IdentityEntry;
use super::memory;
use super::pinning::Pinning;
use super::settings::{
    CanarySettings, ConnectionIdSettings, CoreThreads, General, GroupSettings, HistorySettings,
    LimitSettings, MeshSettings, RuleSettings, Settings, all,
};
use super::tables::Entry;
use crate::tls::Identity;

/// Bytes behind a server id, at least: what QUIC-LB asks of a nonce.
const NONCE_BYTES_MIN: usize = 4;
/// Bytes that a budget of queues has at least: some of the smallest events for each core.
const QUEUE_BUDGET_MIN: u64 = 64 << 10;
/// Probes are answered by all routers, so that more would cost more than they tell.
const CANARY_EVERY_MIN: Duration = Duration::from_millis(100);

/// Everything that a router is told when it starts. `docs/reference/config.md` has the units,
/// ranges and defaults.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Certificate, key, authority and the cluster's secret.
    pub identity: Identity,
    /// A name for people. Default: the address that it advertises.
    pub name: Option<String>,
    /// UDP address for clients and peers; port 0 lets the system choose. Default 127.0.0.1:0.
    pub listen: SocketAddr,
    /// How others reach this router, `host:port`. It is the router's identity, too: a router that
    /// comes back under the same address is the same router. Default: the bound address.
    pub advertise: Option<String>,
    /// Where this router is, for clients that prefer routers of their zone; at most 256 bytes.
    /// Default none.
    pub zone: Option<String>,
    /// Cores: threads that route. Default 1.
    pub cores: u16,
    /// CPUs for the cores. Default off.
    pub pinning: Pinning,
    /// How long a core without work polls for packets before it sleeps, while its last rests were
    /// short; 0 to 1 ms. Default 0: it sleeps at once.
    pub spin: Duration,
    /// Whether the kernel gives each packet to its core. Default yes. Without it packets reach any
    /// core and cores pass them on, which works at a cost per packet.
    pub kernel_steering: bool,
    /// TCP address of the admin page, which has no authentication; none by default.
    pub admin: Option<SocketAddr>,
    /// TCP address of the admin page over TLS, for certificates of the role admin; none by default.
    pub admin_tls: Option<SocketAddr>,
    /// Whether clients without a certificate are refused, or, where there are tokens, those without
    /// a certificate and a token. Default no.
    pub require_client_certificate: bool,
    /// What clients may do, by name: the first entry that matches counts. Without any, everybody
    /// may do everything.
    pub identities: Vec<IdentityEntry>,
    /// This cluster; none: it has no id.
    pub cluster: Option<ClusterId>,
    /// Links to other clusters.
    pub forwards: Vec<ForwardEntry>,
    /// Who may forward from other clusters: the first entry that fits counts. Without any, nobody
    /// may.
    pub accepts: Vec<AcceptEntry>,
    /// Identities of clients without certificates, by the hashes of their tokens.
    pub tokens: HashMap<TokenHash, String>,
    /// How this router finds peers, and when it doubts them.
    pub mesh: MeshSettings,
    /// Bounds.
    pub limits: LimitSettings,
    /// What is kept of the runs that were routed. Default: nothing.
    pub history: HistorySettings,
    /// Groups: receivers that share work.
    pub groups: GroupSettings,
    /// Tags that this router adds to events. Default: none.
    pub rule: Vec<RuleText>,
    /// What tag rules may take.
    pub rules: RuleSettings,
    /// How the router's connection ids look, for balancers in front of it.
    pub connection_ids: ConnectionIdSettings,
    /// How often the router's canary probes the cluster, 100 ms or more; zero: it has none. Default
    /// zero: programs that embed a router count its events.
    pub canary_every: Duration,
}

/// A setting that cannot work; nothing was started.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("setting `{name}`: {problem}")]
pub struct ConfigError {
    /// Its name in the configuration file.
    pub name: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl RouterConfig {
    /// Defaults for embedding: loopback, a port of the system's choice, one core, no admin page.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            name: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            zone: None,
            cores: 1,
            pinning: Pinning::Off,
            spin: Duration::ZERO,
            kernel_steering: true,
            admin: None,
            admin_tls: None,
            require_client_certificate: false,
            identities: Vec::new(),
            cluster: None,
            forwards: Vec::new(),
            accepts: Vec::new(),
            tokens: HashMap::new(),
            mesh: MeshSettings::default(),
            limits: LimitSettings::default(),
            history: HistorySettings::default(),
            groups: GroupSettings::default(),
            rule: Vec::new(),
            rules: RuleSettings::default(),
            connection_ids: ConnectionIdSettings::default(),
            canary_every: Duration::ZERO,
        }
    }

    /// From settings of a file and the tokens that they name, to listen at `listen`.
    pub(crate) fn of(
        settings: &Settings,
        identity: Identity,
        tokens: HashMap<TokenHash, String>,
        listen: SocketAddr,
    ) -> Self {
        let Settings {
            general,
            cores,
            admin,
            tls,
            mesh,
            limits,
            history,
            groups,
            rules,
            canary,
            connection_ids,
            log: _,
            identities,
            rule,
            forwards,
            accepts,
        } = settings.clone();
        Self {
            identity,
            name: general.name,
            listen,
            advertise: general.advertise,
            zone: general.zone,
            cores: cores.count,
            pinning: cores.pin,
            spin: cores.spin,
            kernel_steering: cores.kernel_steering,
            admin: admin.listen,
            admin_tls: admin.tls_listen,
            require_client_certificate: tls.require_client_certificate,
            identities,
            cluster: general.cluster,
            forwards,
            accepts,
            tokens,
            mesh,
            limits,
            history,
            groups,
            rule,
            rules,
            connection_ids,
            canary_every: canary.every,
        }
    }

    /// Who may do what, with counters of its own.
    ///
    /// # Errors
    /// [`ConfigError`]: the first entry that cannot be used.
    pub(crate) fn roll(&self) -> Result<Roll, ConfigError> {
        let grant = |entry: &IdentityEntry| {
            entry.grant().map(Arc::new).map_err(|problem| ConfigError {
                name: "identity",
                problem: format!("\"{}\": {problem}", entry.name),
            })
        };
        let accept = |entry: &AcceptEntry| {
            entry.accept().map_err(|problem| ConfigError {
                name: "accept",
                problem: format!("\"{}\": {problem}", entry.label()),
            })
        };
        Ok(Roll {
            cluster: self.cluster.unwrap_or_default(),
            accepts: self.accepts.iter().map(accept).collect::<Result<_, _>>()?,
            grants: self.identities.iter().map(grant).collect::<Result<_, _>>()?,
            tokens: self.tokens.clone(),
            asks_for_proof: self.require_client_certificate,
            meters: Arc::default(),
        })
    }

    /// The tag rules, with what finds their patterns: up to a second for many patterns.
    ///
    /// # Errors
    /// [`ConfigError`]: the first rule that cannot be used.
    pub(crate) fn rule_set(&self) -> Result<RuleSet, ConfigError> {
        let limits = RuleLimits {
            payload_bytes: size(self.rules.payload_bytes),
            distinct_max: self.rules.distinct_max as usize,
            work_per_turn: size(self.rules.scan_bytes_per_turn),
        };
        RuleSet::new(&self.rule, limits)
            .map_err(|error| ConfigError { name: "rule", problem: error.to_string() })
    }

    /// Its settings, as a file has them.
    fn settings(&self) -> Settings {
        Settings {
            general: General {
                name: self.name.clone(),
                listen: Some(self.listen),
                advertise: self.advertise.clone(),
                zone: self.zone.clone(),
                cluster: self.cluster,
                ..General::default()
            },
            cores: CoreThreads {
                count: self.cores,
                pin: self.pinning.clone(),
                spin: self.spin,
                kernel_steering: self.kernel_steering,
            },
            mesh: self.mesh.clone(),
            limits: self.limits.clone(),
            history: self.history.clone(),
            groups: self.groups.clone(),
            rules: self.rules.clone(),
            connection_ids: self.connection_ids.clone(),
            canary: CanarySettings { every: self.canary_every },
            ..Settings::default()
        }
    }

    /// Looks for settings that cannot work: each against its declaration, then those that depend on
    /// each other.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: the first one.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut settings = self.settings();
        for setting in all() {
            if let Some(value) = (setting.show)(&settings) {
                (setting.read)(&mut settings, &value)
                    .map_err(|problem| ConfigError { name: setting.name, problem })?;
            }
        }
        let wrong = |name, problem: String| Err(ConfigError { name, problem });
        let (mesh, limits) = (&self.mesh, &self.limits);
        if let Pinning::Cpus(cpus) = &self.pinning
            && cpus.len() < usize::from(self.cores)
        {
            return wrong("cores.pin", format!("{} CPUs are named for {} cores", cpus.len(), self.cores));
        }
        if mesh.suspect_after < mesh.ping_every * 2 {
            return wrong("mesh.suspect_after", "at least two pings must fit (see mesh.ping_every)".into());
        }
        if !self.canary_every.is_zero() && self.canary_every < CANARY_EVERY_MIN {
            return wrong("canary.every", "it is below 100ms; 0s is no canary".into());
        }
        if mesh.redial_max < mesh.redial_min {
            return wrong("mesh.redial_max", "it is below mesh.redial_min".into());
        }
        if limits.receiver_queue_bytes > limits.receiver_queue_bytes_max {
            return wrong("limits.receiver_queue", "it is above limits.receiver_queue_max".into());
        }
        if (1..QUEUE_BUDGET_MIN).contains(&limits.queue_budget_bytes) {
            let problem = "it holds next to nothing: 64KiB or more, or 0 for a part of the memory";
            return wrong("limits.queue_budget", problem.into());
        }
        if self.history.dir.is_some() && self.history.bytes == 0 {
            let problem = "history.bytes is 0, so that nothing is kept: set it, too";
            return wrong("history.dir", problem.into());
        }
        self.roll()?;
        Rules::compile(&self.rule)
            .map_err(|error| ConfigError { name: "rule", problem: error.to_string() })?;
        self.check_forwards()?;
        self.cids()?;
        Ok(())
    }

    /// How connection ids look.
    ///
    /// # Errors
    /// [`ConfigError`]: a number that does not fit the others.
    pub(crate) fn cids(&self) -> Result<CidShape, ConfigError> {
        let ConnectionIdSettings { server_id, length, steering_offset } = &self.connection_ids;
        let behind = 1 + server_id.len();
        let usual = if server_id.is_empty() { 8 } else { (behind + NONCE_BYTES_MIN).max(16) };
        let (length, offset) = (length.unwrap_or(usual), steering_offset.unwrap_or(behind));
        CidShape::new(length, offset, server_id).map_err(|error| {
            let SettingsError::OutOfRange { name } = error else {
                return ConfigError { name: "connection_ids", problem: error.to_string() };
            };
            let (name, problem) = match name {
                "server_id" => (
                    "connection_ids.server_id",
                    format!("{NONCE_BYTES_MIN} bytes must follow it, and an id has {length} (connection_ids.length)"),
                ),
                "steering_offset" => (
                    "connection_ids.steering_offset",
                    format!("it is between {behind}, behind the server id, and {}, so that two bytes fit", length - 2),
                ),
                _ => ("connection_ids.length", "it is between 8 and 20".to_owned()),
            };
            ConfigError { name, problem }
        })
    }

    /// Rates at which new connections are admitted.
    pub(crate) fn admission(&self) -> Admission {
        Admission {
            handshakes_per_second: self.limits.handshakes_per_second,
            burst: self.limits.handshakes_burst,
        }
    }

    /// Bounds of newcomers, alone and by address prefix.
    pub(crate) fn newcomers(&self) -> NewcomerLimits {
        NewcomerLimits {
            handshake_timeout: self.limits.handshake_timeout,
            handshakes_per_prefix: self.limits.handshakes_per_prefix,
            connections_per_prefix: self.limits.connections_per_prefix,
            unbounded: self.limits.unbounded_networks.clone(),
        }
    }

    /// Passes settings on to the engine's cores.
    pub(crate) fn apply_to_core(&self, core: &mut CoreConfig) {
        core.about.zone = self.zone.clone().unwrap_or_default();
        core.limits.receivers_max = self.limits.receivers_per_core;
        core.limits.receivers_per_connection_max = self.limits.receivers_per_connection;
        core.limits.queues.bytes_default = self.limits.receiver_queue_bytes;
        core.limits.queues.bytes_max = self.limits.receiver_queue_bytes_max;
        core.limits.queues.blocking_bytes_min = memory::BLOCKING_QUEUE_BYTES_MIN;
        let set = self.limits.queue_budget_bytes;
        let budget = if set == 0 { memory::queue_budget() } else { set };
        core.limits.queues.budget_bytes = budget / u64::from(core.cores.max(1));
        core.limits.queues.stalled_copies_per_second = self.limits.stalled_copies_per_core.into();
        core.limits.link_queue_bytes = self.limits.link_queue_bytes;
        core.limits.credit_bytes = self.limits.publisher_credit_bytes;
        core.limits.hello_timeout = self.limits.hello_timeout;
        core.limits.pace_max = self.limits.pace_max;
        core.limits.received.quench_after = self.limits.quench_after;
        core.limits.selectors = SelectorLimits {
            bytes_per_connection: size(self.limits.selector_bytes_per_connection),
            bytes_per_core: size(self.limits.selector_bytes_per_core),
            loose_per_connection: self.limits.loose_selectors_per_connection as usize,
            loose_per_core: self.limits.loose_selectors_per_core as usize,
        };
        core.limits.scans = ScanLimits {
            work_per_turn: size(self.limits.pattern_scan_bytes_per_turn),
            wait_bytes_per_receiver: size(self.limits.pattern_wait_bytes_per_receiver),
            wait_bytes: size(self.limits.pattern_wait_bytes_per_core),
        };
        core.limits.ledger.timeout = self.limits.confirm_timeout;
        core.limits.ledger.entries = self.limits.confirms_per_core as usize;
        core.limits.kept.history.bytes = match size(self.history.bytes / u64::from(core.cores.max(1))) {
            0 => 0,
            share => share.max(HistoryLimits::BYTES_MIN),
        };
        core.limits.kept.history.age = self.history.age;
        core.limits.kept.groups = GroupLimits {
            max_inflight: self.groups.max_inflight.into(),
            ack_wait: self.groups.ack_wait,
            hold: self.groups.hold,
            hold_bytes: size(self.groups.hold_bytes),
            failback: self.groups.failback,
            busy_hold: self.groups.busy_hold,
        };
        if core.limits.kept.history.bytes > 0 {
            core.features = core.features.with(feature::HISTORY);
        }
        if self.cluster.is_some() {
            core.features = core.features.with(feature::FORWARDING).with(feature::PACKED);
        }
        core.lane_times.ping = self.mesh.ping_every;
        core.lane_times.silence = self.mesh.suspect_after;
        // The bound is one router's memory. Each core has an equal part, because shards are spread
        // evenly.
        let (whole, cores) = (RouteCacheLimits::default(), self.cores.max(1));
        core.routes.entries = self.limits.route_cache_entries.div_ceil(u32::from(cores));
        core.routes.bytes = whole.bytes / usize::from(cores);
    }

    /// Passes settings on to the engine's control.
    pub(crate) fn apply_to_control(&self, control: &mut ControlConfig) {
        if self.history.bytes > 0 {
            control.features = control.features.with(feature::HISTORY);
            if self.history.dir.is_some() {
                control.features = control.features.with(feature::FILES);
            }
        }
        control.cluster = self.cluster.unwrap_or_default();
        control.zone = self.zone.clone().unwrap_or_default();
        control.rebalance = self.mesh.rebalance;
        control.min_peers = self.mesh.min_peers;
        control.join_timeout = self.mesh.join_timeout;
        control.sync_timeout = self.mesh.sync_timeout;
        control.forget_after = self.mesh.forget_after;
        control.dial_timeout = self.mesh.dial_timeout;
        control.redial_min = self.mesh.redial_min;
        control.redial_max = self.mesh.redial_max;
    }
}

/// A bound in bytes; the largest one where the number does not fit, because no machine reaches it.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DevAuthority;
    use crate::config::settings::PUBLISHER_CREDIT_MAX;

    fn config() -> RouterConfig {
        RouterConfig::new(DevAuthority::new().unwrap().router("one", &[]).unwrap())
    }

    #[test]
    fn what_a_publisher_may_write_unread_leaves_room_for_its_control_frames() {
        let window = millrace_quic::TransportSettings::client_facing().receive_window_bytes;
        assert!(u64::from(window) >= PUBLISHER_CREDIT_MAX + 256 * 1024);
        let mut config = config();
        assert_eq!(config.check(), Ok(()));
        config.limits.publisher_credit_bytes += 1;
        assert_eq!(config.check().unwrap_err().name, "limits.publisher_credit");
    }

    #[test]
    fn embedded_routers_are_held_to_the_same_ranges_as_files() {
        let mut config = config();
        config.advertise = Some("quic://a:1".into());
        assert_eq!(config.check().unwrap_err().name, "advertise");
        config.advertise = None;
        config.mesh.seeds = vec!["[::1".into()];
        assert_eq!(config.check().unwrap_err().name, "mesh.seeds");
        config.mesh.seeds.clear();
        config.limits.receiver_queue_bytes = config.limits.receiver_queue_bytes_max + 1;
        assert_eq!(config.check().unwrap_err().name, "limits.receiver_queue");
    }

    #[test]
    fn connection_ids_follow_from_the_server_id_unless_they_are_set() {
        let shape = |length, steering_offset, bytes: usize| {
            let mut config = config();
            config.connection_ids =
                ConnectionIdSettings { server_id: vec![7; bytes], length, steering_offset };
            config.cids().map_err(|error| error.name)
        };
        assert_eq!(shape(None, None, 0), Ok(CidShape::default()));
        assert_eq!(shape(None, None, 8), Ok(CidShape::new(16, 9, &[7; 8]).unwrap()));
        assert_eq!(shape(None, None, 15), Ok(CidShape::new(20, 16, &[7; 15]).unwrap()));
        assert_eq!(shape(Some(20), Some(12), 8), Ok(CidShape::new(20, 12, &[7; 8]).unwrap()));
        assert_eq!(shape(Some(12), None, 8), Err("connection_ids.server_id"));
        assert_eq!(shape(None, Some(8), 8), Err("connection_ids.steering_offset"));
    }
}
