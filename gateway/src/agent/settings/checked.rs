//! The settings that count, checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use millrace_client::Config;
use millrace_client::spool::{Compression, OnFull, SPOOL_BYTES_MIN, SpoolConfig};
use time::UtcOffset;

use super::file::{AgentFile, SpoolFile, UnixFile};
use crate::agent::stamp::{Stamp, StampError};
use crate::program::check_filter;
use crate::settings::{SettingsError, listen, open_keys, routers, zone};

/// Longest time that an event may wait for company.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// A producer may hold this part of all bytes.
const PRODUCER_SHARE: u64 = 4;
/// Segments of one producer, about: what is shed at a time is a small part of what it holds.
const SEGMENTS_OF_PRODUCER: u64 = 64;
/// Least bytes of a segment: every event fits.
const SEGMENT_BYTES_MIN: u64 = 2 << 20;

/// Everything that the agent is told.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// How to reach the routers.
    pub routers: Config,
    /// What the agent sets on events.
    pub stamp: Stamp,
    /// Where events wait.
    pub spool: SpoolSettings,
    /// The socket, if there is one.
    pub unix: Option<UnixSettings>,
    /// The HTTP door, if there is one.
    pub http: Option<SocketAddr>,
    /// Where syslog datagrams are taken.
    pub syslog_udp: Option<SocketAddr>,
    /// Where syslog connections are taken.
    pub syslog_tcp: Option<SocketAddr>,
    /// The zone of syslog times that have none.
    pub zone: UtcOffset,
    /// Where metrics and probes are, if anywhere.
    pub admin: Option<SocketAddr>,
    /// What is logged.
    pub log_filter: String,
    /// What is right and should be better, each with the cure.
    pub warnings: Vec<String>,
}

/// Where events wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The folder.
    pub folder: PathBuf,
    /// Bytes of all producers together.
    pub max_bytes: u64,
    /// Percent of the file system that stay free.
    pub free_percent: u8,
    /// What happens to what is more.
    pub on_full: Overflow,
    /// Whether payloads are compressed on disk.
    pub compression: Compression,
    /// How long an event may wait for company on its way to a router.
    pub linger: Duration,
}

/// What happens to events for which the spool has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest give way.
    ShedOldest,
    /// The newest are not taken, and counted as shed.
    ShedNewest,
    /// The newest are refused, and their producer is told to come again.
    Refuse,
}

impl Overflow {
    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShedOldest => "shed-oldest",
            Self::ShedNewest => "shed-newest",
            Self::Refuse => "refuse",
        }
    }
}

impl SpoolSettings {
    /// The settings of one producer's spool. What is shed because it is new never enters a spool.
    #[must_use]
    pub fn of_producer(&self) -> SpoolConfig {
        let max_bytes = (self.max_bytes / PRODUCER_SHARE).max(SPOOL_BYTES_MIN);
        let on_full = match self.on_full {
            Overflow::ShedOldest => OnFull::ShedOldest,
            Overflow::ShedNewest | Overflow::Refuse => OnFull::Refuse,
        };
        let segment_bytes = Some((max_bytes / SEGMENTS_OF_PRODUCER).max(SEGMENT_BYTES_MIN));
        SpoolConfig {
            max_bytes,
            free_percent: self.free_percent,
            on_full,
            segment_bytes,
            compression: self.compression,
            ..SpoolConfig::default()
        }
    }
}

/// The socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSettings {
    /// Its path.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentSettingsError {
    /// A setting that gateways have, too.
    #[error(transparent)]
    Shared(#[from] SettingsError),
    /// A door that other hosts reach.
    #[error(
        "{key} = {address} is reachable from other hosts: an agent serves its host only; listen on 127.0.0.1, or start \
         millrace-gateway for others"
    )]
    NotLocal {
        /// The setting.
        key: &'static str,
        /// Where it would listen.
        address: SocketAddr,
    },
    /// What the host says of itself.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// A number or a word that is none of those that the setting has.
    #[error("{key} = {text:?}: write {expected}")]
    Value {
        /// The setting.
        key: &'static str,
        /// What it says.
        text: String,
        /// What it may say.
        expected: &'static str,
    },
}

impl AgentSettings {
    /// Checks a complete file ([`AgentFile::complete`]).
    ///
    /// # Errors
    /// [`AgentSettingsError`] names the setting.
    pub fn of(file: &AgentFile) -> Result<Self, AgentSettingsError> {
        let log_filter = file.log.filter.clone().unwrap_or_default();
        check_filter(&log_filter).map_err(|problem| SettingsError::Log { problem })?;
        Ok(Self {
            routers: routers(&file.routers, file.tls.accept_open_keys)?,
            stamp: Stamp::new(file.identity.fqdn.as_deref().unwrap_or_default(), &file.identity.tags)?,
            spool: spool(&file.spool)?,
            unix: unix(&file.unix)?,
            http: local("http.listen", file.http.listen.as_deref())?,
            syslog_udp: local("syslog.udp", file.syslog.udp.as_deref())?,
            syslog_tcp: local("syslog.tcp", file.syslog.tcp.as_deref())?,
            zone: zone("syslog.tz", file.syslog.tz.as_deref())?,
            admin: listen("admin.listen", file.admin.listen.as_deref(), None)?,
            log_filter,
            warnings: open_keys([&file.routers.key]),
        })
    }
}

fn local(key: &'static str, text: Option<&str>) -> Result<Option<SocketAddr>, AgentSettingsError> {
    match listen(key, text, None)? {
        Some(address) if !address.ip().to_canonical().is_loopback() => {
            Err(AgentSettingsError::NotLocal { key, address })
        }
        address => Ok(address),
    }
}

fn value(key: &'static str, text: impl ToString, expected: &'static str) -> AgentSettingsError {
    AgentSettingsError::Value { key, text: text.to_string(), expected }
}

fn spool(file: &SpoolFile) -> Result<SpoolSettings, AgentSettingsError> {
    let max_bytes = file.max_bytes.as_ref().and_then(|size| size.bytes());
    let max_bytes = max_bytes.filter(|&bytes| bytes >= SPOOL_BYTES_MIN).ok_or_else(|| {
        let text = file.max_bytes.as_ref().map_or_else(String::new, |size| format!("{size:?}"));
        value("spool.max_bytes", text, "bytes, at least 10MiB, as in 1GiB")
    })?;
    let percent = file.free_percent.unwrap_or_default();
    if percent > 100 {
        return Err(value("spool.free_percent", percent, "0 to 100"));
    }
    let linger = Duration::from_millis(file.linger_ms.unwrap_or_default());
    if linger > LINGER_MAX {
        return Err(value("spool.linger_ms", linger.as_millis(), "0 to 1000"));
    }
    let word = file.on_full.as_deref().unwrap_or_default();
    let words = [Overflow::ShedOldest, Overflow::ShedNewest, Overflow::Refuse];
    let on_full = words.into_iter().find(|one| one.name() == word);
    let on_full =
        on_full.ok_or_else(|| value("spool.on_full", word, "shed-oldest, shed-newest or refuse"))?;
    let word = file.compression.as_deref().unwrap_or_default();
    let compression = word.parse().map_err(|_| value("spool.compression", word, "none or zstd"))?;
    let folder = file.folder.clone().unwrap_or_default();
    Ok(SpoolSettings { folder, max_bytes, free_percent: percent, on_full, compression, linger })
}

fn unix(file: &UnixFile) -> Result<Option<UnixSettings>, AgentSettingsError> {
    let Some(path) = file.listen.as_deref().filter(|path| *path != "off") else { return Ok(None) };
    if !path.starts_with('/') {
        return Err(value(
            "unix.listen",
            path,
            "a path from the root, as in /run/millrace/agent.sock, or off",
        ));
    }
    let text = file.mode.as_deref().unwrap_or_default();
    let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| mode <= 0o777);
    let mode = mode.ok_or_else(|| value("unix.mode", text, "octal permissions, as in 0660"))?;
    Ok(Some(UnixSettings { path: path.into(), mode }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<AgentSettings, AgentSettingsError> {
        AgentSettings::of(&AgentFile::parse(text).unwrap().complete("web-1.example"))
    }

    #[test]
    fn an_empty_file_is_an_agent_on_this_host() {
        let settings = of("").unwrap();
        assert_eq!(settings.unix.unwrap().path.to_str(), Some("/run/millrace/agent.sock"));
        assert_eq!(settings.http.unwrap().to_string(), "127.0.0.1:7480");
        assert_eq!(settings.syslog_udp.unwrap().to_string(), "127.0.0.1:5140");
        assert_eq!(settings.spool.max_bytes, 1 << 30);
        assert_eq!(settings.spool.of_producer().max_bytes, 256 << 20);
        assert_eq!(settings.spool.on_full, Overflow::ShedOldest);
        assert_eq!(settings.spool.of_producer().compression, Compression::None);
        let packs = of("spool.compression = 'zstd'").unwrap();
        assert_eq!(packs.spool.of_producer().compression, Compression::Zstd);
        assert_eq!(settings.stamp.tags(), [("fqdn".to_owned(), "web-1.example".to_owned())]);
        let off = of("unix.listen = 'off'\nhttp.listen = 'off'\nsyslog.udp = 'off'").unwrap();
        assert!(off.unix.is_none() && off.http.is_none() && off.syslog_udp.is_none());
    }

    #[test]
    fn what_is_printed_reads_as_the_same_settings() {
        let file = AgentFile::parse("identity.tags = { site = 'ber' }\nspool.max_bytes = 20971520").unwrap();
        let text = file.complete("web-1").to_text().unwrap();
        let again = AgentFile::parse(&text).unwrap();
        assert_eq!(again.to_text().unwrap(), text);
        assert_eq!(AgentSettings::of(&again).unwrap().spool.max_bytes, 20 << 20);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("http.listen = '0.0.0.0:80'", "http.listen = 0.0.0.0:80 is reachable from other hosts"),
            ("syslog.udp = '[::]:514'", "syslog.udp"),
            ("spool.max_bytes = '1MiB'", "at least 10MiB"),
            ("spool.max_bytes = 'much'", "spool.max_bytes"),
            ("spool.on_full = 'block'", "shed-oldest, shed-newest or refuse"),
            ("spool.compression = 'lz4'", "none or zstd"),
            ("spool.free_percent = 101", "0 to 100"),
            ("spool.linger_ms = 1001", "0 to 1000"),
            ("unix.listen = 'agent.sock'", "a path from the root"),
            ("unix.mode = '0999'", "octal"),
            ("identity.fqdn = ''", "identity"),
            ("identity.tags = { fqdn = 'x' }", "identity.fqdn"),
            ("identity.tags = { 'millrace/x' = 'x' }", "routers"),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(AgentFile::parse("[spool]\nmax = 1").unwrap_err().contains("max"));
    }
}
