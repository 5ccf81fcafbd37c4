//! The session of one accepted connection.

use std::any::Any;
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn_proto::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn_proto::crypto::{
    ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::pki_types::CertificateDer;
use rustls::quic::{DirectionalKeys, KeyChange, ServerConnection, Version};
use rustls::{AlertDescription, Error};

use super::generation::Generation;

/// Begins the session of a connection of QUIC's `version` that quinn-proto accepts. `quic` is the
/// configuration that opens its first packets.
pub(crate) fn begin(
    tls: Arc<rustls::ServerConfig>,
    quic: &Arc<QuicServerConfig>,
    version: u32,
    params: &TransportParameters,
) -> Box<dyn Session> {
    let mut encoded = Vec::new();
    params.write(&mut encoded);
    match ServerConnection::new(tls, tls_version(version), encoded) {
        Ok(tls) => Box::new(ServerSession {
            handshake: Some(Box::new(Handshake { tls, quic: quic.clone(), version, is_known: false })),
            last: None,
            is_last_out: false,
            outcome: Mutex::new(None),
        }),
        // Settings refuse the configurations that rustls refuses; what quinn-proto makes of this
        // one is its own.
        Err(_) => quic.clone().start_session(version, params),
    }
}

/// How rustls names a version that quinn-proto speaks: drafts before 33 have labels of their own.
fn tls_version(version: u32) -> Version {
    match version {
        0xff00_001d..=0xff00_0020 => Version::V1Draft,
        _ => Version::V1,
    }
}

struct ServerSession {
    /// Gone when the handshake is over.
    handshake: Option<Box<Handshake>>,
    /// The last generation of keys behind those that the handshake made.
    last: Option<Arc<Generation>>,
    /// Whether quinn-proto has it.
    is_last_out: bool,
    /// What the handshake found out, until it was asked for. Only one thread handles a connection:
    /// the lock is always free.
    outcome: Mutex<Option<Box<Outcome>>>,
}

struct Handshake {
    tls: ServerConnection,
    quic: Arc<QuicServerConfig>,
    version: u32,
    /// Whether quinn-proto was told that there is [`HandshakeData`].
    is_known: bool,
}

/// What a handshake leaves. Each part is handed out once.
struct Outcome {
    data: Option<Box<HandshakeData>>,
    chain: Option<Vec<CertificateDer<'static>>>,
}

impl Handshake {
    fn data(&self) -> Box<HandshakeData> {
        Box::new(HandshakeData {
            protocol: self.tls.alpn_protocol().map(<[u8]>::to_vec),
            server_name: self.tls.server_name().map(str::to_owned),
        })
    }

    fn chain(&self) -> Option<Vec<CertificateDer<'static>>> {
        let chain = self.tls.peer_certificates()?;
        Some(chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
    }

    fn failure(&self, error: &Error) -> TransportError {
        let code = self.tls.alert().map_or(TransportErrorCode::PROTOCOL_VIOLATION, alert_code);
        TransportError { code, frame: None, reason: error.to_string() }
    }
}

fn alert_code(alert: AlertDescription) -> TransportErrorCode {
    TransportErrorCode::crypto(alert.into())
}

impl ServerSession {
    fn outcome(&self) -> MutexGuard<'_, Option<Box<Outcome>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the handshake.
    fn end(&mut self) {
        if let Some(handshake) = self.handshake.take() {
            let outcome = Outcome { data: Some(handshake.data()), chain: handshake.chain() };
            *self.outcome() = Some(Box::new(outcome));
        }
    }

    /// Takes a part of the outcome, which goes with its last part.
    fn take<T>(&self, part: impl FnOnce(&mut Outcome) -> Option<T>) -> Option<T> {
        let mut kept = self.outcome();
        let taken = part(kept.as_mut()?);
        if kept.as_ref().is_some_and(|outcome| outcome.data.is_none() && outcome.chain.is_none()) {
            *kept = None;
        }
        taken
    }
}

impl Session for ServerSession {
    /// Only clients ask, after a Retry.
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        debug_assert!(side.is_server(), "accepted connections are the server's");
        let keys =
            self.handshake.as_ref().map(|handshake| handshake.quic.initial_keys(handshake.version, dst_cid));
        keys.and_then(Result::ok).expect("quinn-proto asks clients' sessions alone, before they have others")
    }

    /// The last time that there is something is behind the handshake.
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let data = match &self.handshake {
            Some(handshake) => handshake.is_known.then(|| handshake.data()),
            None => self.take(|outcome| outcome.data.take()),
        };
        data.map(|data| data as Box<dyn Any>)
    }

    /// The last time that there is something is behind the handshake.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let chain = match &self.handshake {
            Some(handshake) => handshake.chain(),
            None => self.take(|outcome| outcome.chain.take()),
        };
        chain.map(|chain| Box::new(chain) as Box<dyn Any>)
    }

    /// Settings refuse early data.
    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.tls.is_handshaking())
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        let Some(handshake) = &mut self.handshake else {
            // A client has nothing to say behind its Finished: TLS's own key updates are forbidden
            // in QUIC (RFC 9001, section 6), and so is authentication later (section 4.4).
            return Err(TransportError {
                code: alert_code(AlertDescription::UnexpectedMessage),
                frame: None,
                reason: "TLS message behind the handshake".to_owned(),
            });
        };
        handshake.tls.read_hs(buf).map_err(|error| handshake.failure(&error))?;
        let tls = &handshake.tls;
        let is_ready = tls.alpn_protocol().is_some() || tls.server_name().is_some() || !tls.is_handshaking();
        let is_news = is_ready && !handshake.is_known;
        handshake.is_known |= is_ready;
        Ok(is_news)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(encoded) =
            self.handshake.as_ref().and_then(|handshake| handshake.tls.quic_transport_parameters())
        else {
            return Ok(None);
        };
        Ok(Some(TransportParameters::read(Side::Server, &mut Cursor::new(encoded))?))
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let handshake = self.handshake.as_mut()?;
        let keys = match handshake.tls.write_hs(buf) {
            Some(KeyChange::Handshake { keys }) => keys,
            Some(KeyChange::OneRtt { keys, next }) => {
                self.last = Some(Generation::new(next));
                keys
            }
            // All is written, and nothing is to come.
            None => {
                if !handshake.tls.is_handshaking() {
                    self.end();
                }
                return None;
            }
        };
        let (local, remote) = (direction(keys.local), direction(keys.remote));
        Some(Keys {
            header: KeyPair { local: local.0, remote: remote.0 },
            packet: KeyPair { local: local.1, remote: remote.1 },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let last = self.last.as_mut()?;
        if self.is_last_out {
            *last = last.successor();
        }
        self.is_last_out = true;
        Some(last.pair())
    }

    /// Servers send Retry packets and get none.
    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    /// Nothing here exports keys.
    fn export_keying_material(
        &self,
        _: &mut [u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}

fn direction(keys: DirectionalKeys) -> (Box<dyn HeaderKey>, Box<dyn PacketKey>) {
    (Box::new(keys.header), Box::new(keys.packet))
}
