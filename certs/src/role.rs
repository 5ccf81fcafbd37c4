//! Roles: what a certificate says its holder is, by a URI among its names.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// URI of a router's certificate, without its name.
pub(crate) const ROUTER_URI: &str = "millrace://router/";
/// URI of a client's certificate, without its name.
pub(crate) const CLIENT_URI: &str = "millrace://client/";

/// What a certificate says its holder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A router of the cluster.
    Router(String),
    /// A client.
    Client(String),
    /// Neither, or not readable.
    None,
}

/// The role in a certificate that was verified before.
#[must_use]
pub fn role_of(certificate: &CertificateDer<'_>) -> Role {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Role::None };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Role::None };
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    uris.filter_map(role_in).next().unwrap_or(Role::None)
}

/// The role that a URI names.
pub(crate) fn role_in(uri: &str) -> Option<Role> {
    let router = || uri.strip_prefix(ROUTER_URI).map(|name| Role::Router(name.to_owned()));
    router().or_else(|| uri.strip_prefix(CLIENT_URI).map(|name| Role::Client(name.to_owned())))
}

/// URI of a role, for certificates that are made here.
pub(crate) fn router_uri(name: &str) -> String {
    format!("{ROUTER_URI}{name}")
}

/// URI of a role, for certificates that are made here.
pub(crate) fn client_uri(name: &str) -> String {
    format!("{CLIENT_URI}{name}")
}
