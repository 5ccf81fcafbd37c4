//! Servers under comparison: each is a process of its own, started for a round and ended after it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::placement::Placing;
use super::serve::Served;

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(20);
/// The name in servers' certificates.
const NAME: &str = "localhost";

/// What a served process says of itself, as one line of JSON on its standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Whom they trust; empty without TLS.
    pub ca_pem: String,
}

/// Why a server is not there.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A file or process.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// It ended, or said nothing in time.
    #[error("{name} did not get ready: {said}")]
    NotReady {
        /// Which.
        name: String,
        /// Its last words.
        said: String,
    },
}

/// How nats-server is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nats {
    /// On plain TCP.
    Plain,
    /// With TLS.
    Tls,
    /// On plain TCP, with JetStream in a folder of its own.
    Jetstream,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Whom they trust.
    pub ca_pem: String,
    /// Whether publishers of nats-server use its stream.
    pub has_stream: bool,
    /// What it needs while it runs.
    _folder: Option<Folder>,
}

impl Server {
    /// The process that is measured.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts this program as one of its own servers.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn own(served: Served, placing: Placing) -> Result<Self, ServerError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", served.name(), "--placing", placing.name()]);
        Self::announced(command, served.name())
    }

    /// Starts a program that says [`Ready`] when it is, and ends when its standard input does.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn announced(mut command: Command, name: &str) -> Result<Self, ServerError> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take();
        let found = first_line(output, |line| serde_json::from_str::<Ready>(line).ok());
        match found {
            Ok(Ready { address, ca_pem }) => {
                Ok(Self { child, address, ca_pem, has_stream: false, _folder: None })
            }
            Err(said) => {
                end(&mut child);
                Err(ServerError::NotReady { name: name.to_owned(), said })
            }
        }
    }

    /// Starts nats-server on a free port of loopback.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn nats(program: &Path, how: Nats) -> Result<Self, ServerError> {
        let mut command = Command::new(program);
        command.args(["--addr", "127.0.0.1", "--port", "-1"]);
        let (mut folder, mut ca_pem) = (None, String::new());
        if how == Nats::Jetstream {
            let place = Folder::new()?;
            command.arg("--jetstream").arg("--store_dir").arg(&place.0);
            folder = Some(place);
        }
        if how == Nats::Tls {
            let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
            let place = Folder::new()?;
            let (cert, key) = (place.0.join("cert.pem"), place.0.join("key.pem"));
            ca_pem = made.cert.pem();
            std::fs::write(&cert, &ca_pem)?;
            std::fs::write(&key, made.signing_key.serialize_pem())?;
            command.arg("--tls").arg("--tlscert").arg(cert).arg("--tlskey").arg(key);
            folder = Some(place);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take();
        let found = first_line(log, |line| {
            let (_, address) = line.split_once("Listening for client connections on ")?;
            address.trim().parse::<SocketAddr>().ok()
        });
        match found {
            Ok(address) => {
                let has_stream = how == Nats::Jetstream;
                Ok(Self { child, address, ca_pem, has_stream, _folder: folder })
            }
            Err(said) => {
                end(&mut child);
                Err(ServerError::NotReady { name: program.display().to_string(), said })
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Both fail when it has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// What `find` makes of the first line that it takes; else the last line. The rest is read and
/// forgotten, so that the program never waits for a reader.
fn first_line<T: Send + 'static>(
    output: Option<impl std::io::Read + Send + 'static>,
    find: impl Fn(&str) -> Option<T> + Send + 'static,
) -> Result<T, String> {
    let Some(output) = output else { return Err("it has no output".into()) };
    let (sender, found) = mpsc::channel();
    std::thread::spawn(move || {
        let mut last = String::from("it ended without a word");
        let mut searching = true;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(found) = Some(&line).filter(|_| searching).and_then(|line| find(line)) {
                searching = false;
                // Nobody listens after the time limit.
                let _ = sender.send(Ok(found));
            }
            last = line;
        }
        if searching {
            let _ = sender.send(Err(last));
        }
    });
    found.recv_timeout(START_MAX).unwrap_or_else(|_| Err(format!("nothing within {} s", START_MAX.as_secs())))
}

/// A temporary folder, private to this user, removed with its value.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl Folder {
    pub(crate) fn new() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("millrace-compare-{:016x}", rand::random::<u64>()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
