//! From the command line to a client, and from its errors to advice.

use std::time::Duration;

use millrace_client::{Client, CloseCode, Config, ConnectError, Disconnect, TlsError};

use crate::credentials;
use crate::failure::Failure;
use crate::options::Reach;

/// How long a router may take to welcome the command: that none answers is said within 5 s.
const CONNECT_MAX: Duration = Duration::from_millis(4500);

/// A client for the routers that the command line names.
pub(crate) fn client(reach: &Reach) -> Result<Client, Failure> {
    let config = Config::default()
        .router_levels(reach.routers())
        .trust(credentials::trust(reach)?)
        .identity(credentials::identity(reach)?)
        .token(credentials::token(reach)?)
        .connect_timeout(CONNECT_MAX)
        .server_name(reach.server_name.clone())
        .zone(reach.zone.clone().filter(|zone| !zone.is_empty()));
    Client::new(config).map_err(unreachable)
}

/// Whether a router closed the connection because the client had shown nothing.
fn is_asked_who_it_is(reason: &str) -> bool {
    reason.contains("asks clients for a certificate") || reason.contains("without a certificate")
}

/// No router could be reached: what to try next.
pub(crate) fn unreachable(error: ConnectError) -> Failure {
    let hint = match &error {
        ConnectError::Tls(TlsError::NoDevAuthority { .. }) => Some(
            "Start a router in dev mode with `millrace-router`, or name your cluster: --router HOST:PORT --ca FILE.",
        ),
        ConnectError::Tls(TlsError::DevIsLocal { .. }) => Some("Add --ca FILE (or set MILLRACE_CA)."),
        ConnectError::Timeout { .. } => Some(
            "Is the router running, and is its UDP port open? A router in dev mode is started with `millrace-router`.",
        ),
        // Other reasons of this code say themselves what to do.
        ConnectError::Failed {
            reason: Disconnect::Closed { code: Some(CloseCode::Forbidden), reason }, ..
        } => is_asked_who_it_is(reason).then_some(
            "Give this client's certificate and key: --cert FILE --key FILE (`millrace certs client NAME` makes them), \
             or its token: --token-file FILE.",
        ),
        ConnectError::Failed { .. } => Some(
            "If the certificate is not trusted, check --ca; without it, only routers in dev mode that this user started are trusted.",
        ),
        _ => None,
    };
    let failure = Failure::unreachable(error.into());
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
