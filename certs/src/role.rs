//! Roles: what a certificate says its holder is, by a URI among its names.
//!
//! | URI | role |
//! |---|---|
//! | `millrace://router/NAME`, `spiffe://DOMAIN/millrace/router/NAME` | router NAME |
//! | `millrace://client/NAME`, `spiffe://DOMAIN/millrace/client/NAME` | client NAME |
//! | `millrace://admin/NAME`, `spiffe://DOMAIN/millrace/admin/NAME` | NAME, who operates routers |
//!
//! The second form is for authorities that issue SPIFFE ids alone (SPIFFE-ID, section 2): a path of
//! exactly three segments, under any trust domain, because the authorities that a router believes
//! decide which domains there are. Other URIs name no role, so that a workload of the same domain
//! is a client only when somebody registered it as one.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// URI of a router's certificate, without its name.
pub(crate) const ROUTER_URI: &str = "millrace://router/";
/// URI of a client's certificate, without its name.
pub(crate) const CLIENT_URI: &str = "millrace://client/";
/// URI of an operator's certificate, without its name.
pub(crate) const ADMIN_URI: &str = "millrace://admin/";

/// What a certificate says its holder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A router of the cluster.
    Router(String),
    /// A client.
    Client(String),
    /// Who operates routers: the admin page over TLS obeys it.
    Admin(String),
    /// Neither, several that differ, or not readable.
    None,
}

impl Role {
    /// What its holder is called as a client: NAME, `router/NAME` or `admin/NAME`. None without a
    /// role.
    #[must_use]
    pub fn identity(self) -> Option<String> {
        match self {
            Self::Client(name) => Some(name),
            Self::Router(name) => Some(format!("router/{name}")),
            Self::Admin(name) => Some(format!("admin/{name}")),
            Self::None => None,
        }
    }
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
    let mut roles = uris.filter_map(role_in);
    match roles.next() {
        Some(first) if roles.all(|other| other == first) => first,
        _ => Role::None,
    }
}

/// The role that a URI names.
pub(crate) fn role_in(uri: &str) -> Option<Role> {
    if let Some(id) = uri.strip_prefix("spiffe://") {
        return role_of_spiffe(id);
    }
    let named = |prefix| uri.strip_prefix(prefix).map(str::to_owned);
    named(ROUTER_URI)
        .map(Role::Router)
        .or_else(|| named(CLIENT_URI).map(Role::Client))
        .or_else(|| named(ADMIN_URI).map(Role::Admin))
}

/// The role that a SPIFFE id names, without its scheme.
fn role_of_spiffe(id: &str) -> Option<Role> {
    let segments: Vec<&str> = id.split('/').collect();
    match segments.as_slice() {
        [_, _, _, ""] | ["", ..] => None,
        [_, "millrace", "router", name] => Some(Role::Router((*name).to_owned())),
        [_, "millrace", "client", name] => Some(Role::Client((*name).to_owned())),
        [_, "millrace", "admin", name] => Some(Role::Admin((*name).to_owned())),
        _ => None,
    }
}

/// URI of a role, for certificates that are made here.
#[cfg(feature = "authority")]
pub(crate) fn router_uri(name: &str) -> String {
    format!("{ROUTER_URI}{name}")
}

/// URI of a role, for certificates that are made here.
#[cfg(feature = "authority")]
pub(crate) fn client_uri(name: &str) -> String {
    format!("{CLIENT_URI}{name}")
}

/// URI of a role, for certificates that are made here.
#[cfg(feature = "authority")]
pub(crate) fn admin_uri(name: &str) -> String {
    format!("{ADMIN_URI}{name}")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn both_forms_of_an_id_name_the_same_role() {
        let router = |name: &str| Some(Role::Router(name.to_owned()));
        let client = |name: &str| Some(Role::Client(name.to_owned()));
        let admin = |name: &str| Some(Role::Admin(name.to_owned()));
        for (uri, role) in [
            ("millrace://router/a", router("a")),
            ("spiffe://example.org/millrace/router/a", router("a")),
            ("millrace://client/billing", client("billing")),
            ("spiffe://example.org/millrace/client/billing", client("billing")),
            ("millrace://admin/ann", admin("ann")),
            ("spiffe://example.org/millrace/admin/ann", admin("ann")),
        ] {
            assert_eq!(role_in(uri), role, "{uri}");
        }
    }

    #[test]
    fn other_spiffe_ids_name_no_role() {
        for uri in [
            "spiffe://example.org/ns/shop/sa/billing",
            "spiffe://example.org/millrace/router/",
            "spiffe://example.org/millrace/router",
            "spiffe://example.org/millrace/router/a/b",
            "spiffe://example.org/x/millrace/router/a",
            "spiffe:///millrace/router/a",
            "spiffe://millrace/router/a",
            "SPIFFE://example.org/millrace/router/a",
            "https://example.org/millrace/router/a",
        ] {
            assert_eq!(role_in(uri), None, "{uri}");
        }
    }

    #[test]
    fn certificate_with_two_roles_has_none() {
        let role = |uris: &[&str]| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            for uri in uris {
                params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
            }
            role_of(params.self_signed(&key).unwrap().der())
        };
        let (router, client, same) =
            ("millrace://router/a", "millrace://client/a", "spiffe://x/millrace/router/a");
        assert_eq!(role(&[router, "https://a", same]), Role::Router("a".to_owned()));
        assert_eq!(role(&[client, router]), Role::None);
        assert_eq!(role(&[router, "millrace://router/b"]), Role::None);
        assert_eq!(role(&[]), Role::None);
    }
}
