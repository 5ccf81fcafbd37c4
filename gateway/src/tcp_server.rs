//! TCP connections of every door: a bound on how many, TLS where there is some, the client's
//! [`Peer`].
//!
//! Connections beyond the bound are closed at once. What a connection does is its door's.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::admission::{self, ACCEPT_PAUSE, DoorTls, Peer, Socket};
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
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::debug!(%from, "a connection is refused: as many are open as may be");
            self.refused(Reason::Connections);
            return;
        };
        let server = self.clone();
        tokio::spawn(async move {
            match admission::accept(stream, server.tls.as_ref(), place).await {
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
