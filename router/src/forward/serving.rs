//! One link as a relay of the client library: it connects, writes what the link gives, and passes
//! on what the far router says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_certs::{FILE_BYTES_MAX, Identity, read_file};
use millrace_client::relay::{Relayed, Said};
use millrace_client::session::Forwarding;
use millrace_client::{Client, Config, Trust};
use millrace_proto::ClusterId;
use millrace_proto::control::Welcome;

use super::book::{Book, Seat};
use crate::clock::Clock;

/// Silence after which a link gives up a connection on which it expects nothing: operators see soon
/// that the far cluster is gone.
const IDLE_SILENCE: Duration = Duration::from_secs(5);

/// Serves a link until it is dropped.
pub(super) async fn serve(
    seat: Arc<Seat>,
    book: Arc<Book>,
    cluster: ClusterId,
    identity: Identity,
    clock: Clock,
) {
    let mut relayed = Serving { seat: seat.clone(), book, clock };
    let client =
        config(&seat, &identity).and_then(|config| Client::new(config).map_err(|error| error.to_string()));
    match client {
        Ok(client) => client.relay(cluster, &mut relayed, &seat.work).await,
        Err(why) => {
            relayed.disconnected(true, why);
            // A reload makes another link of it.
            std::future::pending().await
        }
    }
}

struct Serving {
    seat: Arc<Seat>,
    book: Arc<Book>,
    clock: Clock,
}

impl Serving {
    fn name(&self) -> &str {
        &self.seat.entry.name
    }
}

impl Relayed for Serving {
    fn welcomed(&mut self, welcome: &Welcome) -> Result<(), String> {
        let welcomed = self.seat.link().welcomed(self.clock.now(), welcome);
        welcomed.map_err(|error| error.to_string())?;
        self.book.news.notify_one();
        let (cluster, router) = (welcome.cluster, welcome.router);
        tracing::info!(forward = self.name(), %cluster, %router, "forwarding: connected");
        Ok(())
    }

    fn said(&mut self, said: Said) {
        let mut link = self.seat.link();
        match said {
            Said::Credit(bytes) => link.on_credit(bytes),
            Said::Forwarding(Forwarding::Received(received)) => link.on_received(&received),
            Said::Forwarding(Forwarding::Outcome(outcome)) => link.on_outcome(&outcome),
            Said::Forwarding(Forwarding::Demand(demand)) => {
                let refused = link.on_demand(self.clock.now(), demand);
                drop(link);
                self.book.news.notify_one();
                for select in refused {
                    tracing::warn!(
                        forward = self.name(),
                        select,
                        "forwarding: the far cluster lets nothing of this selector in: its [[accept]] entry selects otherwise"
                    );
                }
            }
            Said::Refused(refused) => {
                link.on_refused(&refused);
                drop(link);
                tracing::warn!(
                    forward = self.name(),
                    "forwarding: the far router drops events: {}",
                    refused.message
                );
            }
            // Nothing that a link acts on.
            _ => {}
        }
    }

    fn take_output(&mut self) -> Option<Bytes> {
        let mut link = self.seat.link();
        let output = link.take_output(self.clock.now());
        // A wait that is over narrows what the link takes.
        if link.has_new_interest() {
            self.book.news.notify_one();
        }
        output
    }

    fn output_in(&self) -> Option<Duration> {
        let until = self.seat.link().keeps_until()?;
        Some(until.since(self.clock.now()))
    }

    fn expects_answer(&self) -> bool {
        self.seat.link().expects_answer()
    }

    fn disconnected(&mut self, is_refused: bool, why: String) {
        let mut link = self.seat.link();
        let is_new = link.trouble() != Some(why.as_str());
        link.disconnected(self.clock.now(), is_refused, why.clone());
        drop(link);
        self.book.news.notify_one();
        if is_new {
            tracing::warn!(forward = self.name(), "forwarding: not connected: {why}");
        }
    }
}

/// How the link reaches the far cluster: with the files of its entry, or as this router.
fn config(seat: &Seat, identity: &Identity) -> Result<Config, String> {
    let tls = &seat.entry.tls;
    let read = |path: &std::path::Path| {
        read_file(path, FILE_BYTES_MAX).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let shown = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            millrace_client::Identity { certificate_pem: read(cert)?, key_pem: read(key)? }
        }
        _ => millrace_client::Identity {
            certificate_pem: identity.chain_pem().to_vec(),
            key_pem: identity.key_pem().to_vec(),
        },
    };
    let trust = match &tls.ca {
        Some(ca) => read(ca)?,
        None => identity.ca_pem().as_bytes().to_vec(),
    };
    let config = Config::new([seat.entry.address()?]).idle_silence(IDLE_SILENCE);
    Ok(config.trust(Trust::Pem(trust)).identity(shown))
}
