//! Whose a client's certificate is.
//!
//! Names come from the URIs among a certificate's subject alternative names, as everywhere in
//! Millrace: authorities write those for whom they mean. The common name is free text that an
//! authority may never have looked at, and routers have one, too; it counts only for an identity
//! that lists it as one, and only in certificates without any URI.

use millrace_certs::{Role, role_of};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// What a certificate calls its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// `millrace://client/NAME`, or `spiffe://DOMAIN/millrace/client/NAME`.
    Client(String),
    /// The one URI of the certificate, a SPIFFE id of another kind.
    Id(String),
    /// The common name of a certificate without any URI.
    Common(String),
    /// It is a router's.
    Router(String),
    /// It is an operator's.
    Admin(String),
    /// None of these, or several.
    Nobody,
}

impl Name {
    /// The name of an identity's setting `certificate`.
    #[must_use]
    pub fn listed(text: &str) -> Self {
        if text.starts_with("spiffe://") { Self::Id(text.to_owned()) } else { Self::Client(text.to_owned()) }
    }
}

/// Why a certificate of the door's authority proves no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoClient {
    /// A router's.
    #[error(
        "the certificate is a router's (`millrace://router/…`), and doors admit clients: show one of \
         `millrace://client/NAME`"
    )]
    Router,
    /// An operator's.
    #[error(
        "the certificate is an operator's (`millrace://admin/…`), and doors admit clients: show one of \
         `millrace://client/NAME`"
    )]
    Admin,
    /// Its URIs name nobody, or several.
    #[error(
        "the certificate names no client: it needs one URI among its subject alternative names, \
         `millrace://client/NAME` or a SPIFFE id"
    )]
    Nobody,
    /// Nobody has listed its name.
    #[error("no identity of this door lists the name in the certificate")]
    Unlisted,
    /// Nobody has listed its common name.
    #[error(
        "the certificate has a common name and no URI, and no identity of this door lists it as `common_name`"
    )]
    UnlistedCommon,
    /// The authority that signed it is none of the door's any more.
    #[error("the authority of the certificate is none of this door's any more")]
    NoLongerBelieved,
}

/// A certificate that a client has shown in its handshake, and that was found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is.
    pub name: Name,
    /// The chain, the client's own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// A hash of the authorities that it was judged by.
    pub authorities: [u8; 32],
}

impl Certificate {
    /// Reads a chain that these authorities have vouched for; `None` for none.
    #[must_use]
    pub fn read(chain: &[CertificateDer<'_>], authorities: [u8; 32]) -> Option<Self> {
        let name = name_in(chain.first()?);
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Some(Self { name, chain, authorities })
    }

    /// Why it proves nothing, when it does not.
    #[must_use]
    pub const fn no_client(&self) -> NoClient {
        match self.name {
            Name::Router(_) => NoClient::Router,
            Name::Admin(_) => NoClient::Admin,
            Name::Nobody => NoClient::Nobody,
            Name::Common(_) => NoClient::UnlistedCommon,
            Name::Client(_) | Name::Id(_) => NoClient::Unlisted,
        }
    }
}

/// The name in a certificate that was verified before.
fn name_in(certificate: &CertificateDer<'_>) -> Name {
    match role_of(certificate) {
        Role::Client(name) => return Name::Client(name),
        Role::Router(name) => return Name::Router(name),
        Role::Admin(name) => return Name::Admin(name),
        Role::None => {}
    }
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Name::Nobody };
    let Ok(names) = parsed.subject_alternative_name() else { return Name::Nobody };
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [] => {
            let common = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
            common.map_or(Name::Nobody, |name| Name::Common(name.to_owned()))
        }
        [id] if id.starts_with("spiffe://") => Name::Id((*id).to_owned()),
        _ => Name::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn name(common: &str, uris: &[&str]) -> Name {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.subject_alt_names.push(SanType::DnsName("host.example".try_into().unwrap()));
        name_in(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn a_common_name_never_stands_in_for_a_role() {
        let client = Name::Client("sensor".to_owned());
        assert_eq!(name("other", &["millrace://client/sensor"]), client);
        assert_eq!(name("other", &["spiffe://example.org/millrace/client/sensor"]), client);
        assert_eq!(name("sensor", &["millrace://router/r1"]), Name::Router("r1".to_owned()));
        assert_eq!(name("sensor", &["millrace://admin/ann"]), Name::Admin("ann".to_owned()));
        let workload = "spiffe://example.org/ns/shop/sa/billing";
        assert_eq!(name("sensor", &[workload]), Name::Id(workload.to_owned()));
        assert_eq!(name("sensor", &[]), Name::Common("sensor".to_owned()));
        for unclear in [
            &["millrace://client/sensor", "millrace://router/r1"][..],
            &["millrace://client/sensor", "millrace://client/other"],
            &["https://sensor.example"],
            &[workload, "spiffe://example.org/other"],
        ] {
            assert_eq!(name("sensor", unclear), Name::Nobody, "{unclear:?}");
        }
    }

    #[test]
    fn what_is_listed_is_a_client_or_an_id() {
        assert_eq!(Name::listed("sensor"), Name::Client("sensor".to_owned()));
        assert_eq!(Name::listed("spiffe://a/b"), Name::Id("spiffe://a/b".to_owned()));
    }
}
