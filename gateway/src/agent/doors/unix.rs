//! The unix socket: whoever may write to it is known by the user of their process.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::admission::ACCEPT_PAUSE;
use crate::agent::producers::Caller;
use crate::agent::settings::UnixSettings;
use crate::counters::{Door, Reason};
use crate::http_server;
use crate::lobby::Lobby;
use crate::program::could_make;

/// Clients of the socket at once.
const CONNECTIONS_MAX: usize = 4096;

/// A socket that listens. Dropping it removes its file.
#[derive(Debug)]
pub(in crate::agent) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// The file's number: another agent may have put its own in its place.
    inode: u64,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // It is in nobody's way: the next agent takes its place.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the socket can be made, as far as that can be told without making it. An agent that
/// listens there is no problem.
///
/// # Errors
/// Something else has the name, or a file is where its folder is to be.
pub(in crate::agent) fn check(settings: &UnixSettings) -> io::Result<()> {
    if fs::symlink_metadata(&settings.path).is_ok_and(|file| !file.file_type().is_socket()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    settings.path.parent().map_or(Ok(()), could_make)
}

/// Makes the socket, in place of one that an agent has left that was killed. Nobody can connect to
/// it before it has its permissions.
///
/// # Errors
/// Another agent listens there, something else has the name, or the system fails.
pub(in crate::agent) fn bind(settings: &UnixSettings) -> io::Result<Socket> {
    let UnixSettings { path, mode } = settings;
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) if StdStream::connect(path).is_ok() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another agent listens there: stop that one, or name another path",
            ));
        }
        _ => {}
    }
    if let Some(folder) = path.parent() {
        DirBuilder::new().mode(0o755).recursive(true).create(folder)?;
    }
    let new = path.with_extension(format!("{}.new", std::process::id()));
    // Of an agent that was killed here, with the same process id.
    let _ = fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(*mode))?;
    fs::rename(&new, path)?;
    let inode = fs::symlink_metadata(path)?.ino();
    Ok(Socket { listener, path: path.clone(), inode })
}

/// Serves the socket until the agent stops. Requests have a [`Caller`] among their extensions.
pub(super) async fn serve(socket: Socket, lobby: Lobby, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = async {
        loop {
            match socket.listener.accept().await {
                Ok((stream, _)) => welcome(stream, &places, &lobby, &routes),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the unix socket");
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

fn welcome(stream: UnixStream, places: &Arc<Semaphore>, lobby: &Lobby, routes: &Router) {
    let Ok(place) = places.clone().try_acquire_owned() else {
        return lobby.counters.refused(Door::Http, Reason::Connections);
    };
    let Ok(peer) = stream.peer_cred() else {
        return lobby.counters.refused(Door::Http, Reason::Unauthenticated);
    };
    let (lobby, routes) = (lobby.clone(), routes.clone());
    tokio::spawn(async move {
        let _open = lobby.counters.connected(Door::Http);
        http_server::answer(stream, Caller::user(peer.uid()), Some(Door::Http), lobby.clone(), routes).await;
        drop(place);
    });
}
