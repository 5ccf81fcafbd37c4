//! Certificates and settings for tests.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use millrace_quic::{ClientSettings, Keys, ServerSettings, TransportSettings, tls};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// The application protocol of all tests.
pub(crate) const ALPN: &[u8] = b"test/1";

/// The folder of the identity that processes of one test share.
pub(crate) const SHARED_IDENTITY: &str = "TEST_IDENTITY";

/// One self-signed certificate for `localhost`, with its key.
pub(crate) fn identity() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    static IDENTITY: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    let (cert, key) = IDENTITY.get_or_init(|| {
        if let Some(folder) = std::env::var_os(SHARED_IDENTITY) {
            let read = |name| std::fs::read(Path::new(&folder).join(name)).unwrap();
            return (read("cert").into(), read("key"));
        }
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.der().clone(), made.signing_key.serialize_der())
    });
    (cert.clone(), PrivateKeyDer::Pkcs8(key.clone().into()))
}

/// Leaves the identity in a folder for other processes.
pub(crate) fn share_identity(folder: &Path) {
    let (cert, key) = identity();
    std::fs::write(folder.join("cert"), &cert).unwrap();
    std::fs::write(folder.join("key"), key.secret_der()).unwrap();
}

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(identity().0).unwrap();
    Arc::new(roots)
}

pub(crate) fn server_tls() -> Arc<rustls::ServerConfig> {
    let (cert, key) = identity();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(), tls::crypto_provider())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(tls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![cert], key)
        .unwrap();
    tls::server(config, &[ALPN])
}

pub(crate) fn client_tls(alpn: &[u8]) -> Arc<rustls::ClientConfig> {
    let config = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth();
    tls::client(config, &[alpn])
}

pub(crate) fn client_tls_with_certificate() -> Arc<rustls::ClientConfig> {
    let (cert, key) = identity();
    let config = rustls::ClientConfig::builder_with_provider(tls::crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots())
        .with_client_auth_cert(vec![cert], key)
        .unwrap();
    tls::client(config, &[ALPN])
}

pub(crate) fn server() -> ServerSettings {
    let keys = Keys::derive(&[7; 32], "router-0:7400");
    ServerSettings::new(server_tls(), TransportSettings::client_facing(), keys)
}

pub(crate) fn client() -> Arc<ClientSettings> {
    client_with(TransportSettings::client_facing())
}

pub(crate) fn client_with(transport: TransportSettings) -> Arc<ClientSettings> {
    Arc::new(ClientSettings::new(client_tls(ALPN), transport).unwrap())
}
