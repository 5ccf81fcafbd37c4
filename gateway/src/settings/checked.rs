//! The settings that count, checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_client::{AddressError, Config, Identity, RouterAddress, Trust};
use rustls::ServerConfig;

use super::access::{self, AccessError};
use super::file::{File, HttpFile, IdentityFile, RoutersFile};
use crate::admission::{Access, DoorTlsError, server_config};

/// Where the admin page is unless told otherwise.
const ADMIN: &str = "127.0.0.1:7482";
/// Where the HTTP door is unless told otherwise.
const HTTP: &str = "127.0.0.1:7480";
/// What is logged unless told otherwise.
const LOG: &str = "info";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A router's address.
    #[error("routers.addresses: {0}")]
    Router(#[from] AddressError),
    /// No router.
    #[error("routers.addresses is empty: name at least one router")]
    NoRouters,
    /// An address to listen on.
    #[error("{key} = {text:?}: write ADDRESS:PORT, as in 127.0.0.1:7480, or off")]
    Listen {
        /// The setting.
        key: &'static str,
        /// What it says.
        text: String,
    },
    /// Certificate and key go together.
    #[error("{section}.cert and {section}.key go together: set both or none")]
    HalfIdentity {
        /// The section of the file.
        section: &'static str,
    },
    /// A client authority without TLS.
    #[error("{section}.client_ca needs {section}.cert and {section}.key: client certificates come with TLS")]
    ClientCaWithoutTls {
        /// The section of the file.
        section: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS of a door.
    #[error("[{section}] {source}")]
    Tls {
        /// The section of the file.
        section: &'static str,
        /// What is wrong.
        source: DoorTlsError,
    },
    /// Identities of a door.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Everything that the gateway is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach the routers.
    pub routers: Config,
    /// Where metrics and probes are; nowhere if `None`.
    pub admin: Option<SocketAddr>,
    /// The HTTP door, if there is one.
    pub http: Option<HttpSettings>,
    /// What is logged.
    pub log_filter: String,
}

/// What all doors on TCP have.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its TLS, if any.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who may use it.
    pub access: Access,
}

/// The HTTP door.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Address, TLS and identities.
    pub door: DoorSettings,
    /// Origins of web pages that may use it, besides its own.
    pub origins: Vec<String>,
}

impl Settings {
    /// Checks a file that flags and environment are already in.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting.
    pub fn of(file: &File) -> Result<Self, SettingsError> {
        Ok(Self {
            routers: routers(&file.routers)?,
            admin: listen("admin.listen", file.admin.listen.as_deref(), Some(ADMIN))?,
            http: http(&file.http)?,
            log_filter: file.log.filter.clone().unwrap_or_else(|| LOG.to_owned()),
        })
    }
}

fn routers(file: &RoutersFile) -> Result<Config, SettingsError> {
    let mut config = Config::default();
    if let Some(addresses) = &file.addresses {
        let parsed: Result<Vec<RouterAddress>, _> =
            addresses.iter().map(|address| address.trim().parse()).collect();
        config = config.routers(parsed?);
    }
    if config.routers.is_empty() {
        return Err(SettingsError::NoRouters);
    }
    if let Some(ca) = &file.ca {
        // Read here, too, so that a wrong path is told at the start.
        read(ca)?;
        config = config.trust(Trust::File(ca.clone()));
    }
    let identity = match (&file.cert, &file.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some(Identity { certificate_pem: read(cert)?, key_pem: read(key)? }),
        _ => return Err(SettingsError::HalfIdentity { section: "routers" }),
    };
    Ok(config.identity(identity).server_name(file.server_name.clone()))
}

fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })
}

/// An address to listen on; `off` is none.
pub(super) fn listen(
    key: &'static str,
    text: Option<&str>,
    default: Option<&str>,
) -> Result<Option<SocketAddr>, SettingsError> {
    match text.or(default) {
        None | Some("off") => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| SettingsError::Listen { key, text: text.to_owned() })
        }
    }
}

/// The TLS files of a door.
#[derive(Debug, Clone, Copy)]
pub(super) struct TlsFiles<'a> {
    pub(super) cert: Option<&'a Path>,
    pub(super) key: Option<&'a Path>,
    pub(super) client_ca: Option<&'a Path>,
}

/// A door on TCP.
pub(super) fn door(
    section: &'static str,
    listen: SocketAddr,
    files: TlsFiles<'_>,
    identities: &[IdentityFile],
) -> Result<DoorSettings, SettingsError> {
    let TlsFiles { cert, key, client_ca } = files;
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(
            server_config(cert, key, client_ca).map_err(|source| SettingsError::Tls { section, source })?,
        ),
        (None, None) if client_ca.is_some() => return Err(SettingsError::ClientCaWithoutTls { section }),
        (None, None) => None,
        _ => return Err(SettingsError::HalfIdentity { section }),
    };
    let access = access::access(section, &[listen], identities, client_ca.is_some())?;
    Ok(DoorSettings { listen, tls, access })
}

fn http(file: &HttpFile) -> Result<Option<HttpSettings>, SettingsError> {
    let Some(listen) = listen("http.listen", file.listen.as_deref(), Some(HTTP))? else { return Ok(None) };
    let files = TlsFiles {
        cert: file.cert.as_deref(),
        key: file.key.as_deref(),
        client_ca: file.client_ca.as_deref(),
    };
    let door = door("http", listen, files, &file.identity)?;
    Ok(Some(HttpSettings { door, origins: file.origins.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        Settings::of(&File::parse(text).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_a_door_on_loopback() {
        let settings = Settings::of(&File::default()).unwrap();
        let http = settings.http.unwrap();
        assert_eq!((http.door.listen.to_string().as_str(), http.door.access.is_open()), (HTTP, true));
        assert_eq!(settings.admin.unwrap().to_string(), ADMIN);
        let off = Settings::of(&File::parse("http.listen = 'off'\nadmin.listen = 'off'").unwrap()).unwrap();
        assert!(off.http.is_none() && off.admin.is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("http.listen = 'here'", "http.listen = \"here\""),
            ("http.listen = '0.0.0.0:80'", "[[http.identity]]"),
            ("routers.addresses = []", "routers.addresses is empty"),
            ("routers.cert = 'a'", "routers.cert and routers.key go together"),
            ("http.cert = 'a'", "http.cert and http.key go together"),
            ("http.client_ca = 'a'", "http.client_ca needs http.cert"),
            ("[[http.identity]]\nname = 'x'", "nothing proves it"),
            ("[[http.identity]]\nname = 'x'\nnetworks = ['y']", "is not a network"),
            ("[[http.identity]]\nname = 'x'\ncertificate = 'y'", "client_ca"),
            ("[[http.identity]]\nname = 'x'\nnetworks = ['::1']\nrights = ['fly']", "\"fly\""),
            ("[[http.identity]]\nname = 'x'\ntoken_file = '/nonexistent'", "/nonexistent"),
        ] {
            let error = error_of(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(File::parse("[http]\nlissen = 1").unwrap_err().contains("lissen"));
    }
}
