//! A TCP connection of a door's client, with or without TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use millrace_certs::{Role, role_of};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::parse_x509_certificate;

use super::bounds::HEAD_MAX;
use super::peer::Peer;

/// A connection that is ready for the door's protocol.
#[derive(Debug)]
pub enum Socket {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Makes a connection ready: TLS where the door has it, within [`HEAD_MAX`].
///
/// # Errors
/// The handshake fails or takes too long, or the connection is gone.
pub async fn accept(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<(Socket, Peer)> {
    let ip = stream.peer_addr()?.ip().to_canonical();
    let on_loopback = stream.local_addr()?.ip().to_canonical().is_loopback();
    // Answers are written whole; waiting for more to send only delays them.
    stream.set_nodelay(true)?;
    let (socket, mut peer) = (Socket::Plain(stream), Peer { ip, on_loopback, certificate: None });
    let Some(tls) = tls else { return Ok((socket, peer)) };
    let (socket, certificate) = socket.secure(tls).await?;
    peer.certificate = certificate;
    Ok((socket, peer))
}

impl Socket {
    /// Begins TLS on a connection that has none yet, within [`HEAD_MAX`]. Returns the name in the
    /// client's certificate, too.
    ///
    /// # Errors
    /// The handshake fails or takes too long, or the connection has TLS already.
    pub async fn secure(self, tls: &Arc<ServerConfig>) -> io::Result<(Self, Option<Arc<str>>)> {
        let Self::Plain(stream) = self else { return Err(io::ErrorKind::InvalidInput.into()) };
        let handshake = timeout(HEAD_MAX, TlsAcceptor::from(tls.clone()).accept(stream));
        let stream = handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.and_then(name_in).map(Arc::from);
        Ok((Self::Tls(Box::new(stream)), certificate))
    }
}

/// The name in a verified certificate: that of its client role, else its common name.
fn name_in(certificate: &CertificateDer<'_>) -> Option<String> {
    if let Role::Client(name) = role_of(certificate) {
        return Some(name);
    }
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let common = parsed.subject().iter_common_name().next()?;
    common.as_str().ok().map(str::to_owned)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
