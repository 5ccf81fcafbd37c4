//! The configuration file as it is written: everything optional, nothing unknown; and its defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::size::Size;
use crate::settings::{AdminFile, LogFile, RoutersFile, TlsFile};

/// A configuration file (TOML).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentFile {
    /// `[routers]`: how to reach them.
    pub routers: RoutersFile,
    /// `[identity]`: what the agent says about the host.
    pub identity: HostFile,
    /// `[spool]`: where events wait.
    pub spool: SpoolFile,
    /// `[unix]`: the socket.
    pub unix: UnixFile,
    /// `[http]`: the HTTP door on loopback.
    pub http: LocalFile,
    /// `[syslog]`: the syslog door on loopback.
    pub syslog: LocalSyslogFile,
    /// `[admin]`: metrics and probes. Default `127.0.0.1:7484`.
    pub admin: AdminFile,
    /// `[tls]`: the agent's key.
    pub tls: TlsFile,
    /// `[log]`.
    pub log: LogFile,
}

/// `[identity]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostFile {
    /// The value of the tag `fqdn` of every event. Default: the host's name.
    pub fqdn: Option<String>,
    /// Further tags of every event, in place of what producers say under their keys.
    pub tags: BTreeMap<String, String>,
}

/// `[spool]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolFile {
    /// The folder, mode 0700; it is made where it is missing. Default `/var/lib/millrace-agent`.
    pub folder: Option<PathBuf>,
    /// Bytes of all producers' events, at least 10 MiB. One producer may hold a quarter of it, or
    /// 10 MiB where that is more. Default `1GiB`.
    pub max_bytes: Option<Size>,
    /// Percent of the file system that stay free whatever `max_bytes` says, at most 100.
    /// Default 10.
    pub free_percent: Option<u8>,
    /// What happens to events beyond: `shed-oldest` gives up the producer's oldest for new ones,
    /// `shed-newest` new ones, `refuse` lets the producer see an error. Default `shed-oldest`.
    pub on_full: Option<String>,
    /// Whether payloads are compressed on disk: `none` or `zstd`. Default `none`.
    pub compression: Option<String>,
    /// How long an event may wait for company on its way to a router, milliseconds, at most 1000.
    /// Default 5.
    pub linger_ms: Option<u64>,
}

/// `[unix]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnixFile {
    /// The socket's path; `off` for none. Default `/run/millrace/agent.sock`.
    pub listen: Option<String>,
    /// The socket's permissions, octal: whoever may write to it may publish and receive. Default
    /// `0666`.
    pub mode: Option<String>,
}

/// `[http]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalFile {
    /// Where the door is, an address of loopback; `off` for nowhere. Default `127.0.0.1:7480`.
    pub listen: Option<String>,
}

/// `[syslog]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalSyslogFile {
    /// Where datagrams are taken, an address of loopback; `off` for nowhere. Default
    /// `127.0.0.1:5140`.
    pub udp: Option<String>,
    /// Where TCP connections are taken, as `udp`. Default `127.0.0.1:5140`.
    pub tcp: Option<String>,
    /// The zone of times that have none, as `+02:00`. Default `+00:00`.
    pub tz: Option<String>,
}

impl AgentFile {
    /// Reads a file.
    ///
    /// # Errors
    /// The file, the place and what is wrong there.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// The place and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Says the defaults of everything that the file leaves open. `host` is the host's name.
    #[must_use]
    pub fn complete(mut self, host: &str) -> Self {
        fn text(place: &mut Option<String>, default: &str) {
            place.get_or_insert_with(|| default.to_owned());
        }
        self.routers.addresses.get_or_insert_with(|| vec!["127.0.0.1:7400".to_owned()]);
        text(&mut self.identity.fqdn, host);
        self.spool.folder.get_or_insert_with(|| PathBuf::from("/var/lib/millrace-agent"));
        self.spool.max_bytes.get_or_insert_with(|| Size::Text("1GiB".to_owned()));
        self.spool.free_percent.get_or_insert(10);
        text(&mut self.spool.on_full, "shed-oldest");
        text(&mut self.spool.compression, "none");
        self.spool.linger_ms.get_or_insert(5);
        text(&mut self.unix.listen, "/run/millrace/agent.sock");
        text(&mut self.unix.mode, "0666");
        text(&mut self.http.listen, "127.0.0.1:7480");
        text(&mut self.syslog.udp, "127.0.0.1:5140");
        text(&mut self.syslog.tcp, "127.0.0.1:5140");
        text(&mut self.syslog.tz, "+00:00");
        text(&mut self.admin.listen, "127.0.0.1:7484");
        text(&mut self.log.filter, "info");
        self
    }

    /// The file that says all of this.
    ///
    /// # Errors
    /// TOML has no word for something; none of the keys is such.
    pub fn to_text(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|error| error.to_string())
    }
}
