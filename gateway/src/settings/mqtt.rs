//! The MQTT door's section, checked.

use super::door::{DoorSettings, TlsFiles, door, listen};
use super::error::SettingsError;
use super::file::MqttFile;
use super::names::mapping;
use crate::doors::naming::{Dialect, Mapping};

/// The MQTT door.
#[derive(Debug, Clone)]
pub struct MqttSettings {
    /// Address, TLS and identities.
    pub door: DoorSettings,
    /// Which topics are which tags.
    pub mapping: Mapping,
}

/// Checks the section; `None` if the door is off.
///
/// # Errors
/// [`SettingsError`] names the setting.
pub(super) fn mqtt(file: &MqttFile, accept_open_keys: bool) -> Result<Option<MqttSettings>, SettingsError> {
    let mapping = mapping(Dialect::Mqtt, "mqtt.topic", &file.topic)?;
    let Some(listen) = listen("mqtt.listen", file.listen.as_deref(), None)? else { return Ok(None) };
    let files = TlsFiles {
        cert: file.cert.as_deref(),
        key: file.key.as_deref(),
        client_ca: file.client_ca.as_deref(),
        accept_open_keys,
    };
    Ok(Some(MqttSettings { door: door("mqtt", listen, files, &file.identity)?, mapping }))
}
