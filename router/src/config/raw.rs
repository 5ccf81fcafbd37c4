//! The configuration file, as it is written: TOML, every key with its default, unknown keys refused.
//!
//! The same names serve the file, `--set` and `--print-config`. Which file and which flags is not decided here: layers come
//! as tables, later ones over earlier ones.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

use super::{LimitSettings, MeshSettings};

/// The whole file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Raw {
    /// A name for people.
    pub(crate) name: Option<String>,
    /// UDP address for clients and peers.
    pub(crate) listen: Option<SocketAddr>,
    /// How others reach this router.
    pub(crate) advertise: Option<String>,
    /// Time for clients to move when the router ends.
    pub(crate) grace: Grace,
    pub(crate) cores: Cores,
    pub(crate) admin: Admin,
    pub(crate) tls: Tls,
    pub(crate) mesh: Mesh,
    pub(crate) limits: Limits,
}

/// Threads that route.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cores {
    pub(crate) count: u16,
    pub(crate) pin: Pin,
    pub(crate) kernel_steering: bool,
}

impl Default for Cores {
    fn default() -> Self {
        Self { count: 1, pin: Pin::Word("off".into()), kernel_steering: true }
    }
}

/// `"off"`, `"auto"`, or CPU numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Pin {
    Cpus(Vec<usize>),
    Word(String),
}

/// The admin page: an address, or `"off"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) listen: String,
}

/// Where the admin page is by default.
pub(crate) const ADMIN_DEFAULT: &str = "127.0.0.1:7401";

impl Default for Admin {
    fn default() -> Self {
        Self { listen: ADMIN_DEFAULT.into() }
    }
}

/// Files; all three of `cert`, `key` and `ca`, or none for development mode.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) secret: Option<PathBuf>,
    pub(crate) require_client_certificate: bool,
}

/// See [`MeshSettings`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mesh {
    pub(crate) seeds: Vec<String>,
    pub(crate) dns_servers: Vec<SocketAddr>,
    pub(crate) resolve_every: Span,
    pub(crate) join_timeout: Span,
    pub(crate) ping_every: Span,
    pub(crate) suspect_after: Span,
    pub(crate) forget_after: Span,
    pub(crate) dial_timeout: Span,
    pub(crate) redial_min: Span,
    pub(crate) redial_max: Span,
}

impl Default for Mesh {
    fn default() -> Self {
        let mesh = MeshSettings::default();
        Self {
            seeds: mesh.seeds,
            dns_servers: mesh.dns_servers,
            resolve_every: Span(mesh.resolve_every),
            join_timeout: Span(mesh.join_timeout),
            ping_every: Span(mesh.ping_every),
            suspect_after: Span(mesh.suspect_after),
            forget_after: Span(mesh.forget_after),
            dial_timeout: Span(mesh.dial_timeout),
            redial_min: Span(mesh.redial_min),
            redial_max: Span(mesh.redial_max),
        }
    }
}

impl From<Mesh> for MeshSettings {
    fn from(raw: Mesh) -> Self {
        Self {
            seeds: raw.seeds,
            dns_servers: raw.dns_servers,
            resolve_every: raw.resolve_every.0,
            join_timeout: raw.join_timeout.0,
            ping_every: raw.ping_every.0,
            suspect_after: raw.suspect_after.0,
            forget_after: raw.forget_after.0,
            dial_timeout: raw.dial_timeout.0,
            redial_min: raw.redial_min.0,
            redial_max: raw.redial_max.0,
        }
    }
}

/// See [`LimitSettings`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections_per_core: usize,
    pub(crate) receivers_per_core: u32,
    pub(crate) receivers_per_connection: u32,
    pub(crate) receiver_queue: Size,
    pub(crate) receiver_queue_max: Size,
    pub(crate) link_queue: Size,
    pub(crate) publisher_credit: Size,
    pub(crate) handshakes_per_second: u32,
    pub(crate) handshakes_burst: u32,
    pub(crate) hello_timeout: Span,
    pub(crate) socket_buffer: Size,
}

impl Default for Limits {
    fn default() -> Self {
        let limits = LimitSettings::default();
        Self {
            connections_per_core: limits.connections_per_core,
            receivers_per_core: limits.receivers_per_core,
            receivers_per_connection: limits.receivers_per_connection,
            receiver_queue: Size(limits.receiver_queue_bytes),
            receiver_queue_max: Size(limits.receiver_queue_bytes_max),
            link_queue: Size(limits.link_queue_bytes),
            publisher_credit: Size(limits.publisher_credit_bytes),
            handshakes_per_second: limits.admission.handshakes_per_second,
            handshakes_burst: limits.admission.burst,
            hello_timeout: Span(limits.hello_timeout),
            socket_buffer: Size(limits.socket_buffer_bytes as u64),
        }
    }
}

impl From<Limits> for LimitSettings {
    fn from(raw: Limits) -> Self {
        Self {
            connections_per_core: raw.connections_per_core,
            receivers_per_core: raw.receivers_per_core,
            receivers_per_connection: raw.receivers_per_connection,
            receiver_queue_bytes: raw.receiver_queue.0,
            receiver_queue_bytes_max: raw.receiver_queue_max.0,
            link_queue_bytes: raw.link_queue.0,
            publisher_credit_bytes: raw.publisher_credit.0,
            admission: millrace_quic::Admission {
                handshakes_per_second: raw.handshakes_per_second,
                burst: raw.handshakes_burst,
            },
            hello_timeout: raw.hello_timeout.0,
            socket_buffer_bytes: usize::try_from(raw.socket_buffer.0).unwrap_or(usize::MAX),
        }
    }
}

/// Time for clients to move: 5 s unless set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Grace(pub(crate) Span);

impl Default for Grace {
    fn default() -> Self {
        Self(Span(Duration::from_secs(5)))
    }
}

/// A duration such as `250ms` or `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = humantime::parse_duration(text);
        parsed.map(Self).map_err(|error| format!("`{text}` is not a duration such as 250ms or 5s: {error}"))
    }
}

/// A size such as `64KiB`, or a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let fits = |&&(shift, _): &&(u32, _)| self.0 != 0 && self.0.trailing_zeros() >= shift;
        match units.iter().find(fits) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed: Result<bytesize::ByteSize, String> = text.parse();
        parsed.map(|size| Self(size.0)).map_err(|_| format!("`{text}` is not a size such as 64KiB or 8MiB"))
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}
as_text!(Span, Size);

/// Puts the keys of `upper` over those of `lower`; tables are merged, everything else is replaced.
pub(crate) fn overlay(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

/// Reads `section.key=value`. The value is TOML; what is not, is taken as text.
pub(crate) fn assignment(text: &str) -> Result<Table, String> {
    let (path, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form section.key=value"))?;
    let parsed = toml::from_str::<Table>(&format!("value = {}", value.trim()));
    let value = parsed.ok().and_then(|mut table| table.remove("value"));
    let mut value =
        value.unwrap_or_else(|| Value::String(text.split_once('=').map_or("", |(_, v)| v).into()));
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let first = keys.remove(0).to_owned();
    for key in keys.into_iter().rev() {
        value = Value::Table(Table::from_iter([(key.to_owned(), value)]));
    }
    Ok(Table::from_iter([(first, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_defaults_read_back_as_the_same_text() {
        let printed = toml::to_string(&Raw::default()).unwrap();
        let again: Raw = toml::from_str(&printed).unwrap();
        assert_eq!(toml::to_string(&again).unwrap(), printed);
        assert!(printed.contains("suspect_after = \"1s\""), "{printed}");
        assert!(printed.contains("receiver_queue = \"1MiB\""), "{printed}");
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = toml::from_str::<Raw>("[mesh]\nseed = []").unwrap_err().to_string();
        assert!(error.contains("unknown field `seed`") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn later_layers_replace_single_keys() {
        let mut table = toml::from_str("name = 'a'\n[mesh]\nseeds = ['x:1']\njoin_timeout = '1s'").unwrap();
        overlay(&mut table, assignment("mesh.join_timeout=50ms").unwrap());
        overlay(&mut table, assignment("cores.count=3").unwrap());
        overlay(&mut table, assignment("cores.pin=[0, 2, 4]").unwrap());
        let raw: Raw = table.try_into().unwrap();
        assert_eq!(raw.mesh.join_timeout.0, Duration::from_millis(50));
        assert_eq!(raw.mesh.seeds, ["x:1"]);
        assert_eq!(raw.cores.count, 3);
        assert!(matches!(raw.cores.pin, Pin::Cpus(cpus) if cpus == [0, 2, 4]));
    }

    #[test]
    fn sizes_and_durations_say_what_was_expected() {
        assert_eq!("64KiB".parse::<Size>().unwrap().0, 65_536);
        assert!("many".parse::<Size>().unwrap_err().contains("64KiB"));
        assert!("soon".parse::<Span>().unwrap_err().contains("250ms"));
    }
}
