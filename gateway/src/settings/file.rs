//! The configuration file as it is written: everything optional, nothing unknown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A configuration file (TOML).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// `[routers]`: how to reach them.
    pub routers: RoutersFile,
    /// `[admin]`: metrics and probes.
    pub admin: AdminFile,
    /// `[http]`: the door for HTTP, CloudEvents and web clients.
    pub http: HttpFile,
    /// `[syslog]`: the door for syslog.
    pub syslog: SyslogFile,
    /// `[nats]`: the door for NATS clients.
    pub nats: NatsFile,
    /// `[mqtt]`: the door for MQTT clients.
    pub mqtt: MqttFile,
    /// `[tls]`: keys of all doors, and the gateway's own.
    pub tls: TlsFile,
    /// `[log]`.
    pub log: LogFile,
}

/// `[tls]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFile {
    /// Takes private keys that every user of the host may read, with a warning. Default no.
    pub accept_open_keys: bool,
}

/// `[log]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogFile {
    /// What is logged, as `RUST_LOG` says it. Default `info`.
    pub filter: Option<String>,
}

/// `[routers]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutersFile {
    /// Addresses, `HOST[:PORT]`; one is enough. Default `127.0.0.1:7400`.
    pub addresses: Option<Vec<String>>,
    /// The authority that signed the routers' certificates, PEM. Default: that of a router in dev
    /// mode on this host.
    pub ca: Option<PathBuf>,
    /// The program's certificate for routers that ask for one, PEM.
    pub cert: Option<PathBuf>,
    /// The key of `cert`, PEM.
    pub key: Option<PathBuf>,
    /// Name to expect in the routers' certificates instead of the host of their address.
    pub server_name: Option<String>,
    /// Where this program is: routers of the same zone are preferred, others used when there is
    /// none. Empty: nowhere in particular.
    pub zone: Option<String>,
}

/// `[admin]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminFile {
    /// Where `/metrics`, `/livez` and `/readyz` are; `off` for nowhere. Default `127.0.0.1:7482`,
    /// an agent's `127.0.0.1:7484`.
    pub listen: Option<String>,
}

/// `[http]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpFile {
    /// Where the door is; `off` for nowhere. Default `127.0.0.1:7480`.
    pub listen: Option<String>,
    /// Certificate of the door, PEM: the door then speaks TLS only.
    pub cert: Option<PathBuf>,
    /// The key of `cert`, PEM.
    pub key: Option<PathBuf>,
    /// Authority whose client certificates prove identities, PEM.
    pub client_ca: Option<PathBuf>,
    /// Origins of web pages, besides the door's own, that may use the door from a browser.
    pub origins: Vec<String>,
    /// Who may do what. Without any, everybody may do everything, on loopback only.
    pub identity: Vec<IdentityFile>,
}

/// `[syslog]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogFile {
    /// Where datagrams are taken. Default nowhere.
    pub udp: Option<String>,
    /// Where TCP connections are taken. Default nowhere.
    pub tcp: Option<String>,
    /// Where TLS connections are taken; needs `cert` and `key`. Default nowhere.
    pub tls: Option<String>,
    /// Certificate for `tls`, PEM.
    pub cert: Option<PathBuf>,
    /// The key of `cert`, PEM.
    pub key: Option<PathBuf>,
    /// Authority whose client certificates prove identities, PEM.
    pub client_ca: Option<PathBuf>,
    /// The zone of times that have none, as `+02:00`. Default `+00:00`.
    pub tz: Option<String>,
    /// Who may send. Without any, everybody, on loopback only. There are no tokens in syslog.
    pub identity: Vec<IdentityFile>,
}

/// `[nats]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsFile {
    /// Where the door is. Default nowhere.
    pub listen: Option<String>,
    /// Certificate of the door, PEM: clients are then told that it wants TLS.
    pub cert: Option<PathBuf>,
    /// The key of `cert`, PEM.
    pub key: Option<PathBuf>,
    /// Authority whose client certificates prove identities, PEM.
    pub client_ca: Option<PathBuf>,
    /// Which subjects are which tags, tried in this order.
    pub subject: Vec<TemplateFile>,
    /// Who may do what. Without any, everybody may do everything, on loopback only. A token is a
    /// client's token, or its password.
    pub identity: Vec<IdentityFile>,
}

/// `[mqtt]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttFile {
    /// Where the door is. Default nowhere.
    pub listen: Option<String>,
    /// Certificate of the door, PEM: the door then speaks TLS only.
    pub cert: Option<PathBuf>,
    /// The key of `cert`, PEM.
    pub key: Option<PathBuf>,
    /// Authority whose client certificates prove identities, PEM.
    pub client_ca: Option<PathBuf>,
    /// Which topics are which tags, tried in this order.
    pub topic: Vec<TemplateFile>,
    /// Who may do what. Without any, everybody may do everything, on loopback only. A token is a
    /// client's password.
    pub identity: Vec<IdentityFile>,
}

/// `[[nats.subject]]`, `[[mqtt.topic]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateFile {
    /// Tokens between separators, each a word or `{key}`: `logs.{host}.{severity}`,
    /// `sensors/{room}/{kind}`.
    pub template: String,
    /// Tags besides those in the template.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// `[[http.identity]]` and those of other doors.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityFile {
    /// Its name, for logs.
    pub name: String,
    /// A file whose first line is the token that proves it.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The token may have less than 16 characters: for clients whose password cannot be another
    /// one.
    #[serde(default)]
    pub short_token: bool,
    /// The name in a client certificate that proves it: NAME of `millrace://client/NAME`, or a
    /// SPIFFE id.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The common name of a client certificate that proves it, for certificates without any URI.
    #[serde(default)]
    pub common_name: Option<String>,
    /// Networks whose clients have this identity: addresses, or addresses with a prefix.
    #[serde(default)]
    pub networks: Vec<String>,
    /// `publish`, `subscribe`. Default both.
    #[serde(default)]
    pub rights: Option<Vec<String>>,
    /// Tags that the gateway puts on everything this identity publishes, in place of the client's.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl File {
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
}
