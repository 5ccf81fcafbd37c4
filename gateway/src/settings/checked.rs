//! The settings that count, checked.

use std::net::SocketAddr;
use std::path::Path;

use millrace_client::{Config, Identity, RouterAddress, Trust};

use super::door::listen;
use super::error::SettingsError;
use super::file::{File, RoutersFile};
use super::http::{HttpSettings, http};
use super::mqtt::{MqttSettings, mqtt};
use super::nats::{NatsSettings, nats};
use super::syslog::{SyslogSettings, syslog};

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
            syslog: syslog(&file.syslog)?,
            nats: nats(&file.nats)?,
            mqtt: mqtt(&file.mqtt)?,
            log_filter: file.log.filter.clone().unwrap_or_else(|| LOG.to_owned()),
        })
    }
}

/// How to reach the routers.
///
/// # Errors
/// [`SettingsError`] names the setting.
pub(crate) fn routers(file: &RoutersFile) -> Result<Config, SettingsError> {
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
    let zone = file.zone.clone().filter(|zone| !zone.is_empty());
    Ok(config.identity(identity).server_name(file.server_name.clone()).zone(zone))
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
