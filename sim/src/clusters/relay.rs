//! The connection of one link, as a router's forwarding thread has it.

use millrace_attach::{ControlStream, Publishing};
use millrace_client::session::{ConnectionConfig, ConnectionEvent, ConnectionSession, Forwarding};
use millrace_engine::forward::{ClusterPath, Link};
use millrace_engine::time::Time;
use millrace_engine::transport::{ConnKey, ReadState, StreamKey};
use millrace_proto::data::{self, DataFrame};
use millrace_proto::frame::FrameReader;
use millrace_proto::{ClusterId, DecodeError};
use millrace_verify::payload::Stamp;

use super::plan::cluster;
use crate::network::Wire;

/// Bytes that are read from a stream at a time.
const READ_BYTES: usize = 16 * 1024;

/// What a link has written: events, each with the clusters that it has crossed.
pub(super) type Written = Vec<((u32, u64), Vec<usize>)>;

/// One link, and its connection.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) link: Link,
    own: ClusterId,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    control: ControlStream,
    publishing: Publishing,
    reader: FrameReader,
    is_welcomed: bool,
    is_first_frame: bool,
    /// When it was told what is wanted, last.
    told: Option<Time>,
}

/// Why a connection cannot go on.
pub(super) type Wrong = String;

impl Relay {
    pub(super) const fn new(link: Link, own: ClusterId) -> Self {
        Self { link, own, connection: None }
    }

    pub(super) fn dialled(&mut self, conn: ConnKey, now: Time) {
        let config = ConnectionConfig { cluster: self.own, confirms: true, ..ConnectionConfig::default() };
        self.connection = Some(Connection {
            control: ControlStream::new(conn, ConnectionSession::new(config, now)),
            publishing: Publishing::new(),
            reader: FrameReader::new(),
            is_welcomed: false,
            is_first_frame: true,
            told: None,
        });
    }

    pub(super) fn id(&self) -> Option<ConnKey> {
        self.connection.as_ref().map(|connection| connection.control.id())
    }

    /// Since when it knows what is wanted behind it, on this connection.
    pub(super) fn knows_demand_since(&self) -> Option<Time> {
        self.connection.as_ref()?.told
    }

    pub(super) fn connected(&mut self, wire: &mut Wire<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.control.connected(wire);
        }
    }

    pub(super) fn read(&mut self, wire: &mut Wire<'_>, now: Time, stream: StreamKey) -> Result<(), Wrong> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        while connection.control.is(stream) {
            let read = connection.control.read(wire, now, stream, READ_BYTES);
            if read.map_err(|error| error.to_string())? != ReadState::More {
                break;
            }
        }
        Ok(())
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, now: Time) {
        if self.connection.take().is_some() {
            self.link.disconnected(now, false, "cut".to_owned());
        }
    }

    /// Hears what the far router says, and writes what the link has. Returns what was written.
    pub(super) fn flow(&mut self, wire: &mut Wire<'_>, now: Time) -> Result<Written, Wrong> {
        let Self { link, connection, .. } = self;
        let Some(connection) = connection else { return Ok(Vec::new()) };
        connection.control.session.handle_timeout(now);
        while let Some(event) = connection.control.session.poll_event() {
            match event {
                ConnectionEvent::Welcomed(welcome) => {
                    link.welcomed(now, &welcome).map_err(|error| error.to_string())?;
                    connection.is_welcomed = true;
                }
                ConnectionEvent::Credit { bytes } => link.on_credit(bytes),
                ConnectionEvent::Forwarding(Forwarding::Received(received)) => link.on_received(&received),
                ConnectionEvent::Forwarding(Forwarding::Outcome(outcome)) => link.on_outcome(&outcome),
                ConnectionEvent::Forwarding(Forwarding::Demand(demand)) => {
                    link.on_demand(now, demand);
                    connection.told = Some(now);
                }
                ConnectionEvent::Refused(refused) => return Err(refused.message),
                ConnectionEvent::Dead { .. } => return Err("silent".to_owned()),
                _ => {}
            }
        }
        let mut written = Vec::new();
        let Connection { control, publishing, reader, is_welcomed, is_first_frame, .. } = connection;
        if *is_welcomed {
            publishing.write_from(wire, control.id(), || {
                let bytes = link.take_output(now)?;
                let _ = reader.feed::<DecodeError>(&bytes, data::FRAME_BYTES_MAX, |kind, body| {
                    if !std::mem::take(is_first_frame) {
                        note(kind, body, &mut written);
                    }
                    Ok(())
                });
                Some(bytes)
            });
        }
        control.session.set_attentive(now, link.expects_answer());
        control.flush(wire);
        Ok(written)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let session = &self.connection.as_ref()?.control.session;
        session.poll_timeout().into_iter().chain(self.link.keeps_until()).min()
    }
}

fn note(kind: u64, body: &[u8], written: &mut Written) {
    let Ok(DataFrame::Run { hop, body }) = data::decode(kind, body) else { return };
    let path = ClusterPath::read(&hop).unwrap_or_default();
    let path: Vec<usize> = path.ids().iter().map(|&id| cluster(id)).collect();
    for event in body.events() {
        if let Ok(Stamp { emitter, n, .. }) = Stamp::decode(event.payload) {
            written.push(((emitter, n), path.clone()));
        }
    }
}
