//! Tickets by which connections go on with the TLS session of an earlier one.
//!
//! Every router of a cluster opens what another one has sealed, so that clients whose router has
//! gone save the signatures of a full handshake where they come next. Routers judge a ticket: it
//! ends with the certificates, the client's and the router's, that began its session. Here tickets
//! are kept by the name that a router's certificate was verified for, and used for that name only.
//!
//! A ticket is used once. Each handshake brings more than one, so that a few that are kept serve
//! any number of connections that come back.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

/// Names of which tickets are kept, at most: those that brought one last.
const NAMES_MAX: usize = 16;
/// Tickets kept for one name, at most: one for each search that a process has under way. Each takes
/// one to three kilobytes.
const TICKETS_MAX: usize = 256;

/// The tickets of connections with one configuration.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    /// The name that brought one last is the last.
    kept: Mutex<VecDeque<Kept>>,
}

/// The tickets of one name, the newest last.
#[derive(Debug)]
struct Kept {
    name: ServerName<'static>,
    tickets: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut kept = self.lock();
        let known = kept.iter().position(|kept| kept.name == name).and_then(|at| kept.remove(at));
        let mut of_name = known.unwrap_or_else(|| Kept { name, tickets: VecDeque::new() });
        if of_name.tickets.len() == TICKETS_MAX {
            of_name.tickets.pop_front();
        }
        of_name.tickets.push_back(ticket);
        if kept.len() == NAMES_MAX {
            kept.pop_front();
        }
        kept.push_back(of_name);
    }

    /// The newest one.
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().iter_mut().find(|kept| kept.name == *name)?.tickets.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::client::Resumption;
    use rustls::{
        ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    };
    use rustls_pki_types::PrivatePkcs8KeyDer;

    use super::*;

    /// A client's side that keeps tickets, and that of a router which gives `tickets` with each
    /// handshake.
    fn both(tickets: usize) -> (Arc<Tickets>, Arc<ClientConfig>, Arc<ServerConfig>) {
        let names = [String::from("one"), String::from("two")];
        let names = names.into_iter().chain((0..2 * NAMES_MAX).map(|at| format!("router-{at}")));
        let made = rcgen::generate_simple_self_signed(names.collect::<Vec<_>>()).unwrap();
        let (provider, versions) = (millrace_certs::crypto_provider(), [&rustls::version::TLS13]);
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let kept = Arc::new(Tickets::default());
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::store(kept.clone());
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        server.send_tls13_tickets = tickets;
        (kept, Arc::new(client), Arc::new(server))
    }

    /// A handshake with the router of this name, until its tickets have come: whether it went on
    /// with an earlier session.
    fn resumes(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> bool {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(client.clone(), name).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        while client.wants_write() || server.wants_write() {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut to_server).unwrap();
            }
            let mut unread = &to_server[..];
            while !unread.is_empty() {
                server.read_tls(&mut unread).unwrap();
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut to_client).unwrap();
            }
            let mut unread = &to_client[..];
            while !unread.is_empty() {
                client.read_tls(&mut unread).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        client.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    #[test]
    fn a_later_connection_resumes_at_the_same_name_and_at_no_other() {
        let (_, client, server) = both(1);
        assert!(!resumes(&client, &server, "one"));
        assert!(!resumes(&client, &server, "two"), "its certificate was never verified for this name");
        assert!(resumes(&client, &server, "one"));
        assert!(resumes(&client, &server, "one"), "each handshake brings the ticket for the next");
    }

    #[test]
    fn tickets_and_names_are_bounded_and_the_newest_stay() {
        let (kept, client, server) = both(TICKETS_MAX + 1);
        resumes(&client, &server, "one");
        assert_eq!(kept.lock()[0].tickets.len(), TICKETS_MAX);
        let (kept, client, server) = both(1);
        for at in 0..=NAMES_MAX {
            resumes(&client, &server, &format!("router-{at}"));
        }
        assert_eq!(kept.lock().len(), NAMES_MAX);
        assert!(!resumes(&client, &server, "router-0"), "it was the oldest");
        assert!(resumes(&client, &server, &format!("router-{NAMES_MAX}")));
    }
}
