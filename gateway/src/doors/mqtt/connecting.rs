//! Who a client is, and what it is granted.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use millrace_proto::limits::PAYLOAD_BYTES_MAX;
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::time::timeout;

use super::aliases::TOPIC_ALIASES_MAX;
use super::answers::RECEIVE_MAX;
use super::codec::{Accepted, Code, Connect, Decoder, Encoder, Packet, Version, Wrong};
use super::door::{Mqtt, reason_of};
use super::event::NoEvent;
use super::inflight::INFLIGHT_MAX;
use super::session::{Granted, Session};
use super::sessions::{EXPIRY_MAX_S, Key, Seat, SessionState};
use super::will::LastWill;
use super::writing::write;
use crate::admission::{HEAD_MAX, Peer, Socket, Standing};
use crate::counters::Reason;

/// Bytes of a client's packet behind its first five: the largest payload, and 64 KiB for topic and
/// properties.
const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 64 * 1024;
/// Bytes that one read takes of a client without an identity.
const READ_BYTES: usize = 4096;
/// Bytes of a client's name.
const CLIENT_BYTES_MAX: usize = 1024;
/// A client of MQTT 5 says something within this time, at the latest: one that is lost without a
/// word is not noticed otherwise.
const KEEP_ALIVE_MAX_S: u16 = 600;
/// `CONNACK` of 3.1.1: another version of the protocol. Whoever speaks another version reads this.
const OTHER_VERSION: &[u8] = &[0x20, 2, 0, 1];

/// A client that is let in.
struct Taken {
    standing: Standing,
    granted: Granted,
    accepted: Accepted,
    seat: Seat,
    state: SessionState,
    will: Option<LastWill>,
}

/// A client that is not let in.
struct TurnedAway {
    /// What it is told.
    said: NoEvent,
    /// What it counts as.
    reason: Reason,
}

impl From<NoEvent> for TurnedAway {
    fn from(said: NoEvent) -> Self {
        Self { reason: reason_of(said.code), said }
    }
}

/// Serves a client from its first byte to its end.
pub(super) async fn serve(door: Mqtt, socket: Socket, peer: Peer) {
    let (mut from, mut to) = tokio::io::split(socket);
    let mut decoder = Decoder::default();
    let connect = match timeout(HEAD_MAX, first(&mut from, &mut decoder)).await {
        Ok(Ok(Some(connect))) => connect,
        Ok(Ok(None)) => return,
        Ok(Err(wrong)) => {
            tracing::debug!(%wrong, "what an MQTT client begins with cannot be read");
            door.refused(wrong.code());
            if wrong == Wrong::Version {
                // It may have gone.
                let _ = write(&mut to, OTHER_VERSION).await;
            }
            return;
        }
        Err(_) => return door.refused(Code::KEEP_ALIVE),
    };
    let mut encoder = Encoder::new(connect.version, !connect.properties.wants_no_reasons);
    let Taken { standing, granted, accepted, seat, state, will } = match door.take(*connect, &peer).await {
        Ok(taken) => taken,
        Err(TurnedAway { said: NoEvent { code, why }, reason }) => {
            tracing::debug!(ip = %peer.ip, why, "an MQTT client is refused");
            door.counted(reason);
            encoder.refuse(code, &why);
            // It may have gone.
            let _ = write(&mut to, encoder.bytes()).await;
            return;
        }
    };
    decoder.admit(PACKET_BYTES_MAX);
    encoder.accept(&accepted);
    let session = Session::new(door, standing, granted, decoder, encoder, (to, seat, state, will));
    session.serve(from).await;
}

impl Mqtt {
    /// Lets a client in, or says why not.
    async fn take(&self, connect: Connect, peer: &Peer) -> Result<Taken, TurnedAway> {
        let Connect { version, is_clean, keep_alive, client, will, password, properties, .. } = connect;
        if properties.auth_method.is_some() {
            let why = "clients show a password, a token or a certificate here";
            return Err(NoEvent::new(Code::AUTH_METHOD, why).into());
        }
        let token = password.as_deref().and_then(|password| std::str::from_utf8(password).ok());
        let standing = self.access.stand(peer, token).map_err(|refusal| {
            // Who shows no password has no wrong one, and no identity all the same.
            let code = if token.is_some() { Code::PASSWORD } else { Code::NOT_AUTHORIZED };
            TurnedAway { said: NoEvent::new(code, refusal), reason: Reason::Unauthenticated }
        })?;
        let will = will.map(|will| LastWill::new(will, version, &self.mapping, &standing)).transpose()?;
        let assigned = name(&client, version, is_clean)?;
        let identity = standing.name().to_owned();
        let key = Key { identity, client: assigned.clone().unwrap_or(client) };

        let wished = match version {
            Version::V5 => properties.session_expiry.unwrap_or_default(),
            Version::V3 if is_clean => 0,
            Version::V3 => EXPIRY_MAX_S,
        };
        let (seat, state) = self.sessions.open(key, !is_clean, wished > 0, &self.room).await;
        let expiry = if seat.is_kept() { wished.min(EXPIRY_MAX_S) } else { 0 };
        let session_present = state.is_some();
        let state = state.unwrap_or_else(|| SessionState::new(&self.room));

        let server_keep_alive = (version == Version::V5
            && (keep_alive == 0 || keep_alive > KEEP_ALIVE_MAX_S))
            .then_some(KEEP_ALIVE_MAX_S);
        let accepted = Accepted {
            session_present,
            session_expiry: (expiry != wished).then_some(expiry),
            receive_max: RECEIVE_MAX,
            packet_max: u32::try_from(PACKET_BYTES_MAX).unwrap_or(u32::MAX),
            client: assigned,
            topic_alias_max: TOPIC_ALIASES_MAX,
            keep_alive: server_keep_alive,
        };
        let granted = Granted {
            version,
            // Half as long again, see MQTT 5, section 3.1.2.10.
            silence_max: Duration::from_millis(1500 * u64::from(server_keep_alive.unwrap_or(keep_alive))),
            inflight_max: usize::from(properties.receive_max.unwrap_or(u16::MAX).min(INFLIGHT_MAX)),
            packet_max: properties.packet_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX),
            topic_alias_max: properties.topic_alias_max,
            expiry: Duration::from_secs(u64::from(expiry)),
        };
        Ok(Taken { standing, granted, accepted, seat, state, will })
    }
}

/// Reads the first packet; `None` if the client goes before.
async fn first(from: &mut ReadHalf<Socket>, decoder: &mut Decoder) -> Result<Option<Box<Connect>>, Wrong> {
    loop {
        match decoder.packet()? {
            Some(Packet::Connect(connect)) => return Ok(Some(connect)),
            Some(_) => return Err(Wrong::Protocol("the first packet is not CONNECT")),
            None => {}
        }
        let room = decoder.room().min(READ_BYTES);
        decoder.buffer().reserve(room);
        match (&mut *from).take(room as u64).read_buf(decoder.buffer()).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

/// The name that a client is given if it has none.
fn name(client: &str, version: Version, is_clean: bool) -> Result<Option<String>, NoEvent> {
    if client.len() > CLIENT_BYTES_MAX {
        return Err(NoEvent::new(
            Code::CLIENT_ID,
            format!("a client identifier has at most {CLIENT_BYTES_MAX} bytes"),
        ));
    }
    if !client.is_empty() {
        return Ok(None);
    }
    if version == Version::V3 && !is_clean {
        return Err(NoEvent::new(Code::CLIENT_ID, "a session that is kept needs a client identifier"));
    }
    // The standard library's random state is the only randomness that this needs.
    let random = || RandomState::new().hash_one(0);
    Ok(Some(format!("millrace-{:016x}{:016x}", random(), random())))
}
