//! A TCP connection of a door's client, with or without TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::bounds::HEAD_MAX;
use super::certificate::Certificate;
use super::peer::Peer;
use super::tls::DoorTls;
use super::waiting::Waiting;

/// How long a client may go on to send when its connection ends on this side. What it sends is read
/// and forgotten: a system that finds unread bytes resets the connection, and with it what the
/// client was told last.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// A connection that is ready for the door's protocol. It holds its place among those of the door.
#[derive(Debug)]
pub struct Socket {
    /// `None` behind its end.
    stream: Option<Stream>,
    place: Option<OwnedSemaphorePermit>,
    /// Its client sends nothing any more.
    is_at_end: bool,
    patience: Patience,
}

/// How long a client without an identity may take nothing of what it is answered: [`HEAD_MAX`].
/// Otherwise it would keep its place among those who have none for as long as it likes, because
/// nothing more is read of a client that does not take its answers.
#[derive(Debug)]
struct Patience {
    waiting: Waiting,
    ends: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// What a write or a flush comes to.
    fn judge<T>(&mut self, done: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if done.is_ready() || !self.waiting.is_on() {
            self.ends = None;
            return done;
        }
        let ends = self.ends.get_or_insert_with(|| Box::pin(sleep(HEAD_MAX)));
        ready!(ends.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Makes a connection ready: TLS where the door has it, within [`HEAD_MAX`]. `place` is free again
/// when the connection has ended, and `waiting` when its client has an identity, or is gone.
///
/// # Errors
/// The handshake fails or takes too long, or the connection is gone.
pub async fn accept(
    stream: TcpStream,
    tls: Option<&DoorTls>,
    place: OwnedSemaphorePermit,
    waiting: Waiting,
) -> io::Result<(Socket, Peer)> {
    let ip = stream.peer_addr()?.ip().to_canonical();
    let on_loopback = stream.local_addr()?.ip().to_canonical().is_loopback();
    // Answers are written whole; waiting for more to send only delays them.
    stream.set_nodelay(true)?;
    let patience = Patience { waiting: waiting.clone(), ends: None };
    let socket =
        Socket { stream: Some(Stream::Plain(stream)), place: Some(place), is_at_end: false, patience };
    let mut peer = Peer { ip, on_loopback, certificate: None, waiting };
    let Some(tls) = tls else { return Ok((socket, peer)) };
    let (socket, certificate) = socket.secure(tls).await?;
    peer.certificate = certificate;
    Ok((socket, peer))
}

impl Socket {
    /// Begins TLS on a connection that has none yet, within [`HEAD_MAX`]. Returns the client's
    /// certificate, too.
    ///
    /// # Errors
    /// The handshake fails or takes too long, or the connection has TLS already.
    pub async fn secure(mut self, tls: &DoorTls) -> io::Result<(Self, Option<Arc<Certificate>>)> {
        let Some(Stream::Plain(stream)) = self.stream.take() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // Those of before count for a certificate that they were asked about.
        let authorities = tls.authorities();
        let handshake = timeout(HEAD_MAX, TlsAcceptor::from(tls.config()).accept(stream));
        let stream = handshake.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = Certificate::read(chain, authorities).map(Arc::new);
        self.stream = Some(Stream::Tls(Box::new(stream)));
        Ok((self, certificate))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take().filter(|_| !self.is_at_end) else { return };
        // Without a runtime the program ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(linger(stream, self.place.take()));
        }
    }
}

/// Says that nothing more comes, and waits for the client to say the same.
async fn linger(mut stream: Stream, place: Option<OwnedSemaphorePermit>) {
    let ended = async {
        stream.shutdown().await?;
        let mut forgotten = [0; 4096];
        while stream.read(&mut forgotten).await? > 0 {}
        io::Result::Ok(())
    };
    // One that fails has ended, too.
    let _ = timeout(LINGER_MAX, ended).await;
    drop(place);
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, is_at_end, .. } = self.get_mut();
        let Some(stream) = stream else { return Poll::Ready(Ok(())) };
        let (before, has_room) = (buffer.filled().len(), buffer.remaining() > 0);
        let read = Pin::new(stream).poll_read(context, buffer);
        if let Poll::Ready(result) = &read {
            *is_at_end |= result.is_err() || (has_room && buffer.filled().len() == before);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, patience, .. } = self.get_mut();
        let Some(stream) = stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let written = Pin::new(stream).poll_write(context, bytes);
        patience.judge(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, patience, .. } = self.get_mut();
        let Some(stream) = stream else { return Poll::Ready(Ok(())) };
        let flushed = Pin::new(stream).poll_flush(context);
        patience.judge(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Stream {
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

impl AsyncWrite for Stream {
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
