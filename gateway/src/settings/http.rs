//! The HTTP door's section, checked.

use super::door::{DoorSettings, TlsFiles, door, listen};
use super::error::SettingsError;
use super::file::HttpFile;
use crate::admission::Live;

/// Where the door is unless told otherwise.
const HTTP: &str = "127.0.0.1:7480";

/// The HTTP door.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Address, TLS and identities.
    pub door: DoorSettings,
    /// Origins of web pages that may use it, besides its own.
    pub origins: Live<Vec<String>>,
}

/// Checks the section; `None` if the door is off.
///
/// # Errors
/// [`SettingsError`] names the setting.
pub(super) fn http(file: &HttpFile, accept_open_keys: bool) -> Result<Option<HttpSettings>, SettingsError> {
    let Some(listen) = listen("http.listen", file.listen.as_deref(), Some(HTTP))? else { return Ok(None) };
    let files = TlsFiles {
        cert: file.cert.as_deref(),
        key: file.key.as_deref(),
        client_ca: file.client_ca.as_deref(),
        accept_open_keys,
    };
    let door = door("http", listen, files, &file.identity)?;
    Ok(Some(HttpSettings { door, origins: Live::new(file.origins.clone()) }))
}
