//! What all doors have: an address, TLS, identities.

use std::net::SocketAddr;
use std::path::Path;

use millrace_certs::exposed;

use super::access;
use super::error::SettingsError;
use super::file::IdentityFile;
use crate::admission::{Access, DoorTls};

/// What all doors on TCP have.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its TLS, if any.
    pub tls: Option<DoorTls>,
    /// Who may use it.
    pub access: Access,
}

/// An address to listen on; `off` is none.
pub(crate) fn listen(
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
    /// Keys that everybody may read are taken, too.
    pub(super) accept_open_keys: bool,
}

/// Refuses a private key that is none, unless that is to be.
///
/// # Errors
/// [`SettingsError::OpenKey`].
pub(super) fn closed(key: &Path, accept_open_keys: bool) -> Result<(), SettingsError> {
    match exposed("key", key).filter(|_| !accept_open_keys) {
        Some(problem) => Err(SettingsError::OpenKey { problem }),
        None => Ok(()),
    }
}

/// A door on TCP.
pub(super) fn door(
    section: &'static str,
    listen: SocketAddr,
    files: TlsFiles<'_>,
    identities: &[IdentityFile],
) -> Result<DoorSettings, SettingsError> {
    let TlsFiles { cert, key, client_ca, accept_open_keys } = files;
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => {
            // Who is on this host alone is posed as on this host alone: that is warned of.
            closed(key, accept_open_keys || listen.ip().to_canonical().is_loopback())?;
            let tls = DoorTls::read(cert, key, client_ca);
            Some(tls.map_err(|source| SettingsError::Tls { section, source })?)
        }
        (None, None) if client_ca.is_some() => return Err(SettingsError::ClientCaWithoutTls { section }),
        (None, None) => None,
        _ => return Err(SettingsError::HalfIdentity { section }),
    };
    let access = access::access(section, &[listen], identities, client_ca.is_some())?;
    Ok(DoorSettings { listen, access: access.with_tls(tls.clone()), tls })
}
