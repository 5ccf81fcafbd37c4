//! TCP connections of every door: bounds on how many, in all and without an identity, TLS where
//! there is some, the client's [`Peer`].
//!
//! Connections beyond a bound are closed at once. What a connection does is its door's.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::admission::{self, ACCEPT_PAUSE, DoorTls, Peer, Socket, WaitingRoom};
use crate::counters::{Door, Reason};
use crate::lobby::Lobby;

/// What accepts connections.
#[derive(Debug, Clone)]
pub(crate) struct TcpServer {
    pub(crate) lobby: Lobby,
    pub(crate) tls: Option<DoorTls>,
    /// The door that connections count for, if any.
    pub(crate) door: Option<Door>,
    pub(crate) connections_max: usize,
    /// Those whose clients have no identity yet.
    pub(crate) waiting: WaitingRoom,
}

impl TcpServer {
    /// Gives each connection a task of `session`, until the gateway stops.
    pub(crate) async fn serve<S, F>(self, listener: TcpListener, session: S)
    where
        S: Fn(Socket, Peer) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let places = Arc::new(Semaphore::new(self.connections_max));
        let lobby = self.lobby.clone();
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, from)) => self.welcome(stream, from, &places, session.clone()),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = lobby.stopped() => {}
        }
    }

    fn welcome<S, F>(&self, stream: TcpStream, from: SocketAddr, places: &Arc<Semaphore>, session: S)
    where
        S: Fn(Socket, Peer) -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let place = places.clone().try_acquire_owned().ok();
        let Some((place, waiting)) = place.zip(self.waiting.enter(from.ip())) else {
            tracing::debug!(%from, "a connection is refused: as many are open as may be");
            self.refused(Reason::Connections);
            return;
        };
        let server = self.clone();
        tokio::spawn(async move {
            match admission::accept(stream, server.tls.as_ref(), place, waiting).await {
                Ok((socket, peer)) => {
                    let _open = server.door.map(|door| server.lobby.counters.connected(door));
                    session(socket, peer).await;
                }
                Err(error) => {
                    tracing::debug!(%from, %error, "no TLS with a client");
                    server.refused(Reason::of_handshake(&error));
                }
            }
        });
    }

    fn refused(&self, reason: Reason) {
        if let Some(door) = self.door {
            self.lobby.counters.refused(door, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{mpsc, watch};
    use tokio::time::timeout;

    use super::*;
    use crate::admission::{Access, HEAD_MAX};

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn strangers_beyond_the_bound_are_turned_away_until_one_of_them_has_an_identity() {
        let (_running, stopping) = watch::channel(false);
        let lobby = Lobby { counters: Arc::default(), stopping };
        let server = TcpServer {
            lobby,
            tls: None,
            door: Some(Door::Mqtt),
            connections_max: 100,
            waiting: WaitingRoom::new(2, 1),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (tell, mut told) = mpsc::channel(10);
        let session = move |socket: Socket, peer: Peer| {
            let tell = tell.clone();
            async move { tell.send((socket, peer)).await.unwrap() }
        };
        let serving = tokio::spawn(server.serve(listener, session));
        let mut clients = Vec::new();
        let mut sessions = Vec::new();
        for _ in 0..2 {
            clients.push(TcpStream::connect(at).await.unwrap());
            sessions.push(timeout(LONG, told.recv()).await.unwrap().unwrap());
        }
        let mut third = TcpStream::connect(at).await.unwrap();
        let read = timeout(LONG, third.read(&mut [0])).await.unwrap();
        assert_eq!(read.unwrap_or_default(), 0, "the door closes");
        Access::default().admit(&sessions[0].1, None).unwrap();
        clients.push(TcpStream::connect(at).await.unwrap());
        sessions.push(timeout(LONG, told.recv()).await.unwrap().unwrap());
        // Those who take nothing of what they are sent: the one with an identity may, the stranger
        // is given up.
        let [(with_identity, _), (stranger, _), ..] = &mut sessions[..] else { panic!("three sessions") };
        let much = vec![0; 64 << 20];
        let (kept, refused) = tokio::join!(
            timeout(HEAD_MAX + Duration::from_secs(1), with_identity.write_all(&much)),
            timeout(LONG, stranger.write_all(&much)),
        );
        assert!(kept.is_err(), "it still waits");
        assert_eq!(refused.unwrap().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        serving.abort();
    }
}
