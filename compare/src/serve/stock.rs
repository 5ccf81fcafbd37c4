//! The same relay on quinn as it comes, on one thread of tokio: shows whether the loop of our own
//! is worth its code.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use millrace_quic::TransportSettings;
use quinn::crypto::rustls::QuicServerConfig;

use super::common::{BUFFER_BYTES, ServeError, announce, relay_tls};
use crate::drive::quic::RELAY_RECEIVE;
use crate::placement::Placing;

type Receivers = Arc<Mutex<Vec<quinn::Connection>>>;

/// Serves until the process ends.
pub(super) fn serve(placing: Placing) -> Result<(), ServeError> {
    placing.place_server();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept())
}

async fn accept() -> Result<(), ServeError> {
    let (tls, ca_pem) = relay_tls()?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| ServeError::Start(error.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // What the kernel grants is enough; our own loop asks for the same.
    let _ = (socket.set_recv_buffer_size(8 << 20), socket.set_send_buffer_size(8 << 20));
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let endpoint = quinn::Endpoint::new(
        quinn::EndpointConfig::default(),
        Some(config),
        socket.into(),
        Arc::new(quinn::TokioRuntime),
    )?;
    announce(endpoint.local_addr()?, ca_pem)?;
    let receivers = Receivers::default();
    while let Some(incoming) = endpoint.accept().await {
        let receivers = Arc::clone(&receivers);
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let data = connection.handshake_data();
            let data = data.and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
            if data.and_then(|data| data.protocol).as_deref() == Some(RELAY_RECEIVE) {
                receivers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                return;
            }
            // Its end is the publisher's end.
            let _ = publisher(connection, &receivers).await;
        });
    }
    Ok(())
}

/// Passes one publisher's stream on to all receivers.
async fn publisher(connection: quinn::Connection, receivers: &Receivers) -> Result<(), quinn::WriteError> {
    let Ok(mut source) = connection.accept_uni().await else { return Ok(()) };
    let receivers = receivers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut copies = Vec::new();
    for receiver in &receivers {
        copies.push(receiver.open_uni().await?);
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(Some(bytes)) = source.read(&mut buffer).await {
        let chunk = Bytes::copy_from_slice(&buffer[..bytes]);
        for copy in &mut copies {
            copy.write_chunk(chunk.clone()).await?;
        }
    }
    Ok(())
}

/// What the relay on our own loop uses, in quinn's words.
fn transport() -> quinn::TransportConfig {
    let like = TransportSettings::client_facing();
    let mut config = quinn::TransportConfig::default();
    let mut acks = quinn::AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(like.ack_threshold.unwrap_or(1).into()).max_ack_delay(like.ack_delay_max);
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(like.mtu_upper_bound.unwrap_or(like.initial_mtu));
    config
        .max_concurrent_uni_streams(like.uni_streams.into())
        .stream_receive_window(like.stream_receive_window_bytes.into())
        .receive_window(like.receive_window_bytes.into())
        .send_window(like.send_window_bytes)
        .send_fairness(like.send_fairness)
        .datagram_receive_buffer_size(None)
        .ack_frequency_config(Some(acks))
        .mtu_discovery_config(Some(discovery))
        .keep_alive_interval(Some(Duration::from_secs(5)));
    config
}
