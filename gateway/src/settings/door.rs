//! What all doors have: an address, TLS, identities.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;

use super::access;
use super::error::SettingsError;
use super::file::IdentityFile;
use crate::admission::{Access, server_config};

/// What all doors on TCP have.
#[derive(Debug, Clone)]
pub struct DoorSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its TLS, if any.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether its clients are asked for a certificate.
    pub asks_for_certificate: bool,
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
    Ok(DoorSettings { listen, tls, asks_for_certificate: client_ca.is_some(), access })
}
