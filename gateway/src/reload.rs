//! The settings that a gateway runs with, read anew: whole or not at all.
//!
//! What may change while doors are open is who may use them, certificates, and the log. All of it
//! is read and checked before any of it counts. Where a door's list is another one, each client
//! that is connected is looked at again: who has lost a right is disconnected, nobody else notices.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admission::{Access, Rule};
use crate::settings::{DoorSettings, File, Settings, SettingsError, change_identity, differences};

/// Keys that count from a reload on, besides identities.
const LIVE: &[&str] = &[
    "http.cert",
    "http.client_ca",
    "http.key",
    "http.origins",
    "log.filter",
    "mqtt.cert",
    "mqtt.client_ca",
    "mqtt.key",
    "nats.cert",
    "nats.client_ca",
    "nats.key",
    "routers.cert",
    "routers.key",
    "syslog.cert",
    "syslog.client_ca",
    "syslog.key",
    "tls.accept_open_keys",
];

/// The settings of a gateway, which its doors share.
#[derive(Debug)]
pub struct Running {
    file: File,
    settings: Settings,
}

impl Running {
    /// Checks a file that flags and environment are already in.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting.
    pub fn new(file: File) -> Result<Self, SettingsError> {
        let settings = Settings::of(&file)?;
        Ok(Self { file, settings })
    }

    /// What the gateway is started with.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes over what another file says. Returns a line for each difference.
    ///
    /// # Errors
    /// What is wrong with it, or needs a restart. Nothing was changed.
    pub fn reload(&mut self, file: File) -> Result<Vec<String>, String> {
        let new = Settings::of(&file).map_err(|error| error.to_string())?;
        let restart = |lines: Vec<String>| format!("it needs a restart: {}", lines.join("; "));
        let mut lines = differences(&self.file, &file, LIVE).map_err(restart)?;
        let identity = change_identity(&self.settings.routers, &new.routers, false);
        lines.extend(identity.map_err(|line| restart(vec![line]))?);
        let (old_doors, new_doors) = (doors(&self.settings), doors(&new));
        let mut told = Vec::new();
        for (old, new) in old_doors.iter().zip(&new_doors) {
            told.extend(old.compare(new).map_err(|line| restart(vec![line]))?);
        }
        // The sockets of syslog share one list.
        told.dedup();
        lines.extend(told);

        // Nothing fails from here on.
        let _ = change_identity(&self.settings.routers, &new.routers, true);
        for (old, new) in old_doors.iter().zip(&new_doors) {
            old.renew(new);
        }
        if let (Some(old), Some(new)) = (&self.settings.http, &new.http) {
            old.origins.replace(new.origins.now());
        }
        self.settings.log_filter = new.log_filter;
        self.settings.warnings = new.warnings;
        self.file = file;
        Ok(lines)
    }
}

/// One socket's list and TLS.
struct Door<'a> {
    section: &'static str,
    access: &'a Access,
    door: Option<&'a DoorSettings>,
}

/// All of them, in an order that their addresses decide.
fn doors(settings: &Settings) -> Vec<Door<'_>> {
    let Settings { http, syslog, nats, mqtt, .. } = settings;
    let tcp = [
        ("http", http.as_ref().map(|http| &http.door)),
        ("nats", nats.as_ref().map(|nats| &nats.door)),
        ("mqtt", mqtt.as_ref().map(|mqtt| &mqtt.door)),
        ("syslog", syslog.tcp.as_ref()),
        ("syslog", syslog.tls.as_ref()),
    ];
    let tcp = tcp.into_iter().filter_map(|(section, door)| Some((section, door?)));
    let tcp = tcp.map(|(section, door)| Door { section, access: &door.access, door: Some(door) });
    let udp = syslog.udp.as_ref().map(|(_, access)| Door { section: "syslog", access, door: None });
    tcp.chain(udp).collect()
}

impl Door<'_> {
    /// What another one's list and TLS change.
    ///
    /// # Errors
    /// It has TLS, and this has not, or the other way round.
    fn compare(&self, new: &Self) -> Result<Vec<String>, String> {
        let mut lines = lists(self.section, &self.access.rules(), &new.access.rules());
        let tls = |door: &Self| door.door.and_then(|door| door.tls.clone());
        match (tls(self), tls(new)) {
            (None, None) => {}
            (Some(old), Some(new)) => {
                let renewal = old.compare(&new);
                let section = self.section;
                if renewal.certificate {
                    lines.push(format!("{section}.cert: a new certificate, for connections from now on"));
                }
                if renewal.authorities {
                    lines.push(format!("{section}.client_ca: other authorities"));
                }
            }
            _ => {
                return Err(format!(
                    "{}.cert: a door with TLS becomes one without, or the other way round",
                    self.section
                ));
            }
        }
        Ok(lines)
    }

    fn renew(&self, new: &Self) {
        if let (Some(old), Some(new)) = (self.door, new.door)
            && let (Some(old), Some(new)) = (&old.tls, &new.tls)
            && (old.compare(new).certificate || old.compare(new).authorities)
        {
            old.renew(new);
        }
        // Behind the authorities, by which certificates are judged again.
        self.access.replace(new.access);
    }
}

/// What changes between two lists of identities.
fn lists(section: &str, old: &[Arc<Rule>], new: &[Arc<Rule>]) -> Vec<String> {
    let by_name = |rules: &[Arc<Rule>]| -> BTreeMap<String, Arc<Rule>> {
        rules.iter().map(|rule| (rule.name.clone(), rule.clone())).collect()
    };
    let names = |rules: &[Arc<Rule>]| -> Vec<String> { rules.iter().map(|rule| rule.name.clone()).collect() };
    let (before, after) = (by_name(old), by_name(new));
    let mut lines = Vec::new();
    for (name, rule) in &before {
        match after.get(name) {
            None => lines.push(format!("{section}.identity {name:?} is gone")),
            Some(now) if now != rule => lines.push(format!("{section}.identity {name:?} is another one")),
            Some(_) => {}
        }
    }
    let added = after.keys().filter(|name| !before.contains_key(*name));
    lines.extend(added.map(|name| format!("{section}.identity {name:?} is new")));
    if lines.is_empty() && names(old) != names(new) {
        lines.push(format!("{section}.identity: another order, of which the first that fits counts"));
    }
    lines
}
