//! Settings of a router, valid by construction of their types as far as types can say it; the rest is checked by
//! [`RouterConfig::check`] when the router starts.

pub(crate) mod raw;

use std::net::SocketAddr;
use std::time::Duration;

use millrace_engine::control::ControlConfig;
use millrace_engine::core::CoreConfig;
use millrace_engine::routes::RouteCacheLimits;
use millrace_proto::limits::CORES_MAX;
use millrace_quic::Admission;
use thiserror::Error;

use crate::tls::Identity;

/// Credit of a publisher, at most: 256 KiB less than the window of its connection, for control frames.
const PUBLISHER_CREDIT_MAX: u64 = 2 << 20;

/// Which CPUs the cores run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pinning {
    /// Wherever the system puts them.
    #[default]
    Off,
    /// Core i on the i-th CPU that this process may use, where there are enough.
    Auto,
    /// Core i on the i-th of these CPUs, by the system's numbers.
    Cpus(Vec<usize>),
}

/// How this router finds others, and when it doubts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshSettings {
    /// `host:port`, a DNS name (all its addresses; port 7400), or an SRV name, which begins with an underscore.
    pub seeds: Vec<String>,
    /// DNS servers that are asked for seeds and for advertised names, `ip:port`, instead of the system's; for service
    /// discovery that listens on a port of its own. Default none.
    pub dns_servers: Vec<SocketAddr>,
    /// How often names are looked up anew. Default 5 s.
    pub resolve_every: Duration,
    /// How long publishers wait for credit until every known router's interest is applied. Default 2 s.
    pub join_timeout: Duration,
    /// Pings are sent this often on lanes. Default 250 ms.
    pub ping_every: Duration,
    /// A lane that was silent for this long makes its peer suspect; several pings must fit. Default 1 s.
    pub suspect_after: Duration,
    /// How long a suspect peer's interest is kept. Default 30 s; longer than any pause that a peer should survive.
    pub forget_after: Duration,
    /// How long a dial may take. Default 5 s.
    pub dial_timeout: Duration,
    /// First pause before dialling again; doubles up to `redial_max`. Default 100 ms.
    pub redial_min: Duration,
    /// Longest pause before dialling again. Default 5 s.
    pub redial_max: Duration,
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self {
            seeds: Vec::new(),
            dns_servers: Vec::new(),
            resolve_every: Duration::from_secs(5),
            join_timeout: Duration::from_secs(2),
            ping_every: Duration::from_millis(250),
            suspect_after: Duration::from_secs(1),
            forget_after: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(5),
            redial_min: Duration::from_millis(100),
            redial_max: Duration::from_secs(5),
        }
    }
}

/// Bounds on what clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Connections of one core. Default 262,144, about 20 KB each.
    pub connections_per_core: usize,
    /// Receivers of one core. Default 1,048,576.
    pub receivers_per_core: u32,
    /// Receivers of one connection, at most 1,024, the default.
    pub receivers_per_connection: u32,
    /// Bytes of a receiver's queue unless it asks for less. Default 1 MiB.
    pub receiver_queue_bytes: u64,
    /// Bytes of a receiver's queue, at most. Default 64 MiB.
    pub receiver_queue_bytes_max: u64,
    /// Bytes that wait for one lane or sibling core. Default 64 MiB.
    pub link_queue_bytes: u64,
    /// How far a publisher may write ahead of what was read, in bytes. Default 2 MiB, which is also the most: control frames
    /// must have room in its connection's window while the publisher is left unread.
    pub publisher_credit_bytes: u64,
    /// How many new connections a core takes.
    pub admission: Admission,
    /// A connection that has not said hello after this time is closed. Default 5 s.
    pub hello_timeout: Duration,
    /// Bytes asked for as kernel buffers of each UDP socket. Default 8 MiB.
    pub socket_buffer_bytes: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            connections_per_core: 1 << 18,
            receivers_per_core: 1 << 20,
            receivers_per_connection: millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX,
            receiver_queue_bytes: 1 << 20,
            receiver_queue_bytes_max: 64 << 20,
            link_queue_bytes: 64 << 20,
            publisher_credit_bytes: PUBLISHER_CREDIT_MAX,
            admission: Admission::default(),
            hello_timeout: Duration::from_secs(5),
            socket_buffer_bytes: 8 << 20,
        }
    }
}

/// Everything that a router is told when it starts.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Certificate, key, authority and the cluster's secret.
    pub identity: Identity,
    /// A name for people. Default: what it advertises.
    pub name: Option<String>,
    /// UDP address for clients and peers; port 0 lets the system choose. Default 127.0.0.1:0.
    pub listen: SocketAddr,
    /// How others reach this router, `host:port`; names it, too: a router that comes back under the same address is the
    /// same router. Default: the address that is bound.
    pub advertise: Option<String>,
    /// Cores: threads that route. Default 1.
    pub cores: u16,
    /// Where they run. Default off.
    pub pinning: Pinning,
    /// Whether the kernel gives each packet to its core. Default yes. Without it packets reach any core, and cores pass them
    /// on: everything works, at a cost per packet.
    pub kernel_steering: bool,
    /// TCP address of the admin page, which has no authentication; none by default.
    pub admin: Option<SocketAddr>,
    /// Whether clients without a certificate are refused. Default no.
    pub require_client_certificate: bool,
    /// Finding and doubting peers.
    pub mesh: MeshSettings,
    /// Bounds.
    pub limits: LimitSettings,
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
            cores: 1,
            pinning: Pinning::Off,
            kernel_steering: true,
            admin: None,
            require_client_certificate: false,
            mesh: MeshSettings::default(),
            limits: LimitSettings::default(),
        }
    }

    /// Looks for settings that cannot work.
    ///
    /// # Errors
    /// [`ConfigError`]: the first one.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |name, problem: String| Err(ConfigError { name, problem });
        let mesh = &self.mesh;
        if self.cores == 0 || self.cores > CORES_MAX {
            return wrong("cores.count", format!("{} is not between 1 and {CORES_MAX}", self.cores));
        }
        if let Pinning::Cpus(cpus) = &self.pinning
            && cpus.len() < usize::from(self.cores)
        {
            return wrong("cores.pin", format!("{} CPUs are named for {} cores", cpus.len(), self.cores));
        }
        if let Some(advertise) = &self.advertise
            && advertise
                .rsplit_once(':')
                .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            return wrong("advertise", format!("`{advertise}` is not `host:port`"));
        }
        if mesh.suspect_after < mesh.ping_every * 2 {
            return wrong("mesh.suspect_after", "at least two pings must fit (see mesh.ping_every)".into());
        }
        if mesh.redial_min.is_zero() || mesh.redial_max < mesh.redial_min {
            return wrong(
                "mesh.redial_max",
                "it must not be below mesh.redial_min, which must not be 0".into(),
            );
        }
        if let Some(seed) =
            mesh.seeds.iter().find(|seed| seed.is_empty() || seed.contains(char::is_whitespace))
        {
            return wrong("mesh.seeds", format!("`{seed}` is neither an address nor a name"));
        }
        if mesh.resolve_every.is_zero() {
            return wrong("mesh.resolve_every", "it must not be 0".into());
        }
        let limits = &self.limits;
        if limits.receivers_per_connection > millrace_proto::limits::RECEIVERS_PER_CONNECTION_MAX {
            return wrong("limits.receivers_per_connection", "the protocol allows 1024".into());
        }
        if limits.receiver_queue_bytes > limits.receiver_queue_bytes_max {
            return wrong(
                "limits.receiver_queue_bytes",
                "it is above limits.receiver_queue_bytes_max".into(),
            );
        }
        if limits.publisher_credit_bytes < 64 * 1024 {
            return wrong("limits.publisher_credit_bytes", "it must be at least 64KiB".into());
        }
        if limits.publisher_credit_bytes > PUBLISHER_CREDIT_MAX {
            return wrong("limits.publisher_credit_bytes", "it must be at most 2MiB".into());
        }
        Ok(())
    }

    /// Passes settings on to the engine's cores.
    pub(crate) fn apply_to_core(&self, core: &mut CoreConfig) {
        core.receivers_max = self.limits.receivers_per_core;
        core.receivers_per_connection_max = self.limits.receivers_per_connection;
        core.queue_bytes_default = self.limits.receiver_queue_bytes;
        core.queue_bytes_max = self.limits.receiver_queue_bytes_max;
        core.link_queue_bytes = self.limits.link_queue_bytes;
        core.credit_bytes = self.limits.publisher_credit_bytes;
        core.hello_timeout = self.limits.hello_timeout;
        core.lane_ping = self.mesh.ping_every;
        core.lane_silence = self.mesh.suspect_after;
        // One router's memory, whatever the number of its cores: shards are spread evenly over them.
        let (whole, cores) = (RouteCacheLimits::default(), self.cores.max(1));
        core.routes.entries = whole.entries.div_ceil(u32::from(cores));
        core.routes.bytes = whole.bytes / usize::from(cores);
    }

    /// Passes settings on to the engine's control.
    pub(crate) fn apply_to_control(&self, control: &mut ControlConfig) {
        control.join_timeout = self.mesh.join_timeout;
        control.forget_after = self.mesh.forget_after;
        control.dial_timeout = self.mesh.dial_timeout;
        control.redial_min = self.mesh.redial_min;
        control.redial_max = self.mesh.redial_max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DevAuthority;

    #[test]
    fn what_a_publisher_may_write_unread_leaves_room_for_its_control_frames() {
        let window = millrace_quic::TransportSettings::client_facing().receive_window_bytes;
        assert!(u64::from(window) >= PUBLISHER_CREDIT_MAX + 256 * 1024);
        let mut config = RouterConfig::new(DevAuthority::new().unwrap().router("one", &[]).unwrap());
        assert_eq!(config.check(), Ok(()));
        config.limits.publisher_credit_bytes += 1;
        assert_eq!(config.check().unwrap_err().name, "limits.publisher_credit_bytes");
    }
}
