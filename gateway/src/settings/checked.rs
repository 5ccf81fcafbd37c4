//! The settings that count, checked.

use std::net::SocketAddr;
use std::path::Path;

use millrace_certs::{crypto_provider, open_to_others, role_of};
use millrace_client::{Config, Identity, RenewedIdentity, RouterAddress, Trust};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::door::{closed, listen};
use super::error::SettingsError;
use super::file::{File, RoutersFile};
use super::http::{HttpSettings, http};
use super::mqtt::{MqttSettings, mqtt};
use super::nats::{NatsSettings, nats};
use super::syslog::{SyslogSettings, syslog};
use crate::program::check_filter;

/// Where the admin page is unless told otherwise.
const ADMIN: &str = "127.0.0.1:7482";
/// What is logged unless told otherwise.
const LOG: &str = "info";

/// Everything that the gateway is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach the routers.
    pub routers: Config,
    /// Where metrics and probes are; nowhere if `None`.
    pub admin: Option<SocketAddr>,
    /// The HTTP door, if there is one.
    pub http: Option<HttpSettings>,
    /// The syslog door, as far as it is open.
    pub syslog: SyslogSettings,
    /// The NATS door, if there is one.
    pub nats: Option<NatsSettings>,
    /// The MQTT door, if there is one.
    pub mqtt: Option<MqttSettings>,
    /// What is logged.
    pub log_filter: String,
    /// What is right and should be better, each with the cure.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Checks a file that flags and environment are already in.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting.
    pub fn of(file: &File) -> Result<Self, SettingsError> {
        let accept_open_keys = file.tls.accept_open_keys;
        let log_filter = file.log.filter.clone().unwrap_or_else(|| LOG.to_owned());
        check_filter(&log_filter).map_err(|problem| SettingsError::Log { problem })?;
        Ok(Self {
            routers: routers(&file.routers, accept_open_keys)?,
            admin: listen("admin.listen", file.admin.listen.as_deref(), Some(ADMIN))?,
            http: http(&file.http, accept_open_keys)?,
            syslog: syslog(&file.syslog, accept_open_keys)?,
            nats: nats(&file.nats, accept_open_keys)?,
            mqtt: mqtt(&file.mqtt, accept_open_keys)?,
            log_filter,
            warnings: open_keys([
                &file.routers.key,
                &file.http.key,
                &file.syslog.key,
                &file.nats.key,
                &file.mqtt.key,
            ]),
        })
    }
}

/// How to reach the routers.
///
/// # Errors
/// [`SettingsError`] names the setting.
pub(crate) fn routers(file: &RoutersFile, accept_open_keys: bool) -> Result<Config, SettingsError> {
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
        (Some(cert), Some(key)) => {
            // As doors on loopback.
            let is_local = config.routers.iter().all(RouterAddress::is_loopback);
            closed(key, accept_open_keys || is_local)?;
            let identity = Identity { certificate_pem: read(cert)?, key_pem: read(key)? };
            usable(&identity).map_err(|problem| SettingsError::Identity { problem })?;
            Some(identity)
        }
        _ => return Err(SettingsError::HalfIdentity { section: "routers" }),
    };
    let zone = file.zone.clone().filter(|zone| !zone.is_empty());
    config = config.renewed_identity(identity.clone().map(RenewedIdentity::new));
    Ok(config.identity(identity).server_name(file.server_name.clone()).zone(zone))
}

/// Whether certificate and key go together.
fn usable(identity: &Identity) -> Result<(), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.certificate_pem).collect();
    let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(&identity.key_pem).map_err(|error| format!("the key: {error}"))?;
    CertifiedKey::from_der(chain, key, &crypto_provider()).map(drop).map_err(|error| error.to_string())
}

/// Warnings of keys that others may use.
pub(crate) fn open_keys<'a>(keys: impl IntoIterator<Item = &'a Option<std::path::PathBuf>>) -> Vec<String> {
    let mut warnings: Vec<String> =
        keys.into_iter().flatten().filter_map(|key| open_to_others("key", key)).collect();
    warnings.dedup();
    warnings
}

/// What changes between two configurations of the routers' side, and makes it so if `apply` says
/// so: connections from then on have the new certificate.
///
/// # Errors
/// What needs a restart: routers know a program by the name in its certificate.
pub(crate) fn change_identity(old: &Config, new: &Config, apply: bool) -> Result<Option<String>, String> {
    let (cell, new) = match (&old.renewed_identity, &new.identity) {
        (None, None) => return Ok(None),
        (Some(cell), Some(new)) => (cell, new),
        _ => return Err("routers.cert: a program that had no certificate, or has none any more".to_owned()),
    };
    let now = cell.now();
    if now.certificate_pem == new.certificate_pem && now.key_pem == new.key_pem {
        return Ok(None);
    }
    let name = |identity: &Identity| {
        let own = CertificateDer::from_pem_slice(&identity.certificate_pem).ok();
        own.and_then(|own| role_of(&own).identity())
    };
    if name(&now) != name(new) {
        let text = |name: Option<String>| name.unwrap_or_else(|| "nobody".to_owned());
        return Err(format!(
            "routers.cert: the certificate of {} becomes that of {}",
            text(name(&now)),
            text(name(new))
        ));
    }
    if apply {
        cell.renew(new.clone());
    }
    Ok(Some("routers.cert: a new certificate, for connections from now on".to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })
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
        assert_eq!(
            (http.door.listen.to_string().as_str(), http.door.access.is_open()),
            ("127.0.0.1:7480", true)
        );
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
            ("syslog.tls = '127.0.0.1:1'", "syslog.cert and syslog.key"),
            ("syslog.udp = '0.0.0.0:1'", "[[syslog.identity]]"),
            ("[[nats.subject]]\ntemplate = 'a.*'", "nats.subject"),
            ("[[mqtt.topic]]\ntemplate = 'a/+'", "mqtt.topic"),
            ("mqtt.listen = '0.0.0.0:1883'", "[[mqtt.identity]]"),
            ("syslog.tz = 'Europe'", "+02:00"),
            ("[[http.identity]]\nname = 'x'\ntoken_file = '/nonexistent'", "/nonexistent"),
        ] {
            let error = error_of(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(File::parse("[http]\nlissen = 1").unwrap_err().contains("lissen"));
    }
}
