//! The NATS door's section, checked.

use super::door::{DoorSettings, TlsFiles, door, listen};
use super::error::SettingsError;
use super::file::NatsFile;
use crate::doors::nats::mapping::Mapping;
use crate::doors::nats::template::Template;

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
pub(super) fn nats(file: &NatsFile) -> Result<Option<NatsSettings>, SettingsError> {
    let templates =
        file.subject.iter().map(|subject| Template::parse(&subject.template, subject.tags.clone()));
    let mapping = Mapping::new(templates.collect::<Result<_, _>>()?);
    let Some(listen) = listen("nats.listen", file.listen.as_deref(), None)? else { return Ok(None) };
    let files = TlsFiles {
        cert: file.cert.as_deref(),
        key: file.key.as_deref(),
        client_ca: file.client_ca.as_deref(),
    };
    Ok(Some(NatsSettings { door: door("nats", listen, files, &file.identity)?, mapping }))
}
