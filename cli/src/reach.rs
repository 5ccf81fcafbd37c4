//! From the command line to a client, and from its errors to advice.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use millrace_client::{
    Client, CloseCode, Config, ConnectError, Disconnect, Identity, TlsError, Token, Trust,
};
use millrace_proto::limits::TOKEN_BYTES_MAX;

use crate::failure::Failure;
use crate::options::Reach;

/// How long a router may take to welcome the command: that none answers is said within 5 s.
const CONNECT_MAX: Duration = Duration::from_millis(4500);

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
        .token(token(reach)?)
        .connect_timeout(CONNECT_MAX)
        .server_name(reach.server_name.clone())
        .zone(reach.zone.clone().filter(|zone| !zone.is_empty()));
    Client::new(config).map_err(unreachable)
}

/// The token to show: that of the file, or of the environment.
fn token(reach: &Reach) -> Result<Option<Token>, Failure> {
    let text = match &reach.token_file {
        Some(path) => {
            let bytes = read(path)?;
            let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
            let text = text.filter(|text| !text.is_empty() && text.len() <= TOKEN_BYTES_MAX);
            let wrong = || anyhow!("{} holds no token: one line of text, at most 4 KiB", path.display());
            Some(text.ok_or_else(|| Failure::usage(wrong()))?)
        }
        // A certificate says more than a token.
        None if reach.cert.is_some() => None,
        None => std::env::var("MILLRACE_TOKEN").ok().map(|text| text.trim().to_owned()),
    };
    Ok(text.filter(|text| !text.is_empty()).map(Token))
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
