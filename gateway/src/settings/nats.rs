//! The NATS door's section, checked.

use super::door::{DoorSettings, TlsFiles, door, listen};
use super::error::SettingsError;
use super::file::NatsFile;
use super::names::mapping;
use crate::doors::naming::{Dialect, Mapping};

/// The NATS door.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// Address, TLS and identities.
    pub door: DoorSettings,
    /// Which subjects are which tags.
    pub mapping: Mapping,
}

/// Checks the section; `None` if the door is off.
///
/// # Errors
/// [`SettingsError`] names the setting.
pub(super) fn nats(file: &NatsFile, accept_open_keys: bool) -> Result<Option<NatsSettings>, SettingsError> {
    let mapping = mapping(Dialect::Nats, "nats.subject", &file.subject)?;
    let Some(listen) = listen("nats.listen", file.listen.as_deref(), None)? else { return Ok(None) };
    let files = TlsFiles {
        cert: file.cert.as_deref(),
        key: file.key.as_deref(),
        client_ca: file.client_ca.as_deref(),
        accept_open_keys,
    };
    Ok(Some(NatsSettings { door: door("nats", listen, files, &file.identity)?, mapping }))
}
