//! From the command line to a client, and from its errors to advice.

use std::path::Path;

use anyhow::Context;
use millrace_client::{Client, CloseCode, Config, ConnectError, Disconnect, Identity, TlsError, Trust};

use crate::args::Reach;
use crate::failure::Failure;

/// A client for the routers that the command line names.
pub(crate) fn client(reach: &Reach) -> Result<Client, Failure> {
    let trust = reach.ca.as_ref().map_or(Trust::Dev, |path| Trust::File(path.clone()));
    let identity = match (&reach.cert, &reach.key) {
        (Some(certificate), Some(key)) => {
            Some(Identity { certificate_pem: read(certificate)?, key_pem: read(key)? })
        }
        _ => None,
    };
    let config = Config::default()
        .router_levels(reach.routers())
        .trust(trust)
        .identity(identity)
        .server_name(reach.server_name.clone());
    Client::new(config).map_err(unreachable)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display())).map_err(Failure::usage)
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
        ConnectError::Failed {
            reason: Disconnect::Closed { code: Some(CloseCode::Forbidden), .. }, ..
        } => Some(
            "Give this client's certificate and key: --cert FILE --key FILE (`millrace certs client NAME` makes them).",
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
