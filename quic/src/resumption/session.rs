//! One connection's side of resumption: rustls asks it for the certificate, for verification, and
//! for tickets.
//!
//! rustls shares one configuration between connections, and tells neither verifier nor ticketer
//! which connection it asks for. Each accepted connection therefore gets a small configuration of
//! its own, whose parts are one [`Session`]. rustls chooses the certificate before it opens
//! tickets, so that the session knows by then which protocols the client offers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn_proto::ConnectionId;
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::{self, Keys, UnsupportedVersion};
use quinn_proto::transport_parameters::TransportParameters;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::counts::Counts;
use super::proof::Proof;
use super::setting::Resumption;
use super::tickets::{TicketKeys, Tickets, system_seconds};
use crate::session::begin;

/// Begins the TLS sessions of accepted connections, with resumption.
pub(crate) struct Sessions {
    tls: Arc<rustls::ServerConfig>,
    /// The configuration without resumption.
    plain: Arc<QuicServerConfig>,
    shared: Arc<Shared>,
}

/// State that all sessions of one core share.
struct Shared {
    resumption: Resumption,
    tickets: Tickets,
    resolver: Arc<dyn ResolvesServerCert>,
    counts: Arc<Counts>,
}

impl Sessions {
    pub(crate) fn new(
        tls: Arc<rustls::ServerConfig>,
        plain: Arc<QuicServerConfig>,
        resumption: Resumption,
        keys: &TicketKeys,
        counts: Arc<Counts>,
    ) -> Self {
        let (tickets, resolver) = (Tickets::new(keys), tls.cert_resolver.clone());
        Self { tls, plain, shared: Arc::new(Shared { resumption, tickets, resolver, counts }) }
    }

    fn config_of(&self, session: Session) -> Result<rustls::ServerConfig, Error> {
        let session = Arc::new(session);
        let mut config = rustls::ServerConfig::builder_with_provider(self.tls.crypto_provider().clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(session.clone())
            .with_cert_resolver(session.clone());
        config.ticketer = session;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols.clone_from(&self.tls.alpn_protocols);
        config.send_tls13_tickets = self.tls.send_tls13_tickets;
        Ok(config)
    }
}

impl crypto::ServerConfig for Sessions {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.plain.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.plain.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let state = Mutex::new(State { resumes: true, proof: Proof::NONE });
        // The plain configuration has the same provider, so that an error would have shown there.
        let config = self
            .config_of(Session { shared: self.shared.clone(), state })
            .map_or_else(|_| self.tls.clone(), Arc::new);
        begin(config, &self.plain, version, params)
    }
}

/// One handshake.
struct Session {
    shared: Arc<Shared>,
    /// Only one thread handles a connection: the lock is always free.
    state: Mutex<State>,
}

struct State {
    /// Whether the client offers only protocols that use tickets.
    resumes: bool,
    proof: Proof,
}

impl Session {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Session {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let without = &self.shared.resumption.without[..];
        if hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == without)) {
            self.state().resumes = false;
        }
        self.shared.resolver.resolve(hello)
    }
}

impl ProducesTickets for Session {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let end = self.state().proof.end.min(self.shared.resumption.until);
        let left = end.saturating_sub(system_seconds());
        u32::try_from(left).unwrap_or(u32::MAX).min(Tickets::LIFETIME_S)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let state = self.state();
        let (now, resumption) = (system_seconds(), &self.shared.resumption);
        if !state.resumes || now >= resumption.until || !resumption.authorities.accept(&state.proof, now) {
            return None;
        }
        self.shared.tickets.seal(&state.proof, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.state();
        let (proof, plain) = self.shared.tickets.open(ticket)?;
        if !state.resumes || !self.shared.resumption.authorities.accept(&proof, system_seconds()) {
            self.shared.counts.refuse();
            return None;
        }
        self.shared.counts.accept();
        state.proof = proof;
        Some(plain)
    }
}

impl ClientCertVerifier for Session {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.shared.resumption.authorities.hints()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.state().proof = self.shared.resumption.authorities.prove(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.shared.resumption.authorities.first().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.shared.resumption.authorities.first().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.shared.resumption.authorities.first().supported_verify_schemes()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
