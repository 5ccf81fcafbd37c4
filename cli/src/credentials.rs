//! Whom the command believes, and what it shows to routers: files, read once and looked at before
//! anything is connected.

use std::path::Path;
#[cfg(unix)]
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use millrace_certs::{FILE_BYTES_MAX, read_file};
#[cfg(unix)]
use millrace_certs::{check_authorities, check_client, exposed};
use millrace_client::{Identity, Token, Trust};
use millrace_proto::limits::TOKEN_BYTES_MAX;

use crate::failure::Failure;
use crate::options::Reach;
#[cfg(unix)]
use crate::tell::tell;

/// The authorities that are believed. A file is read again for each connection, because it may be
/// renewed; a pipe (`--ca <(…)`) can be read once.
pub(crate) fn trust(reach: &Reach) -> Result<Trust, Failure> {
    let Some(path) = &reach.ca else { return Ok(Trust::Dev) };
    let shown = path.display();
    let bytes = read_file(path, FILE_BYTES_MAX).with_context(|| format!("cannot read {shown}"));
    let bytes = bytes.map_err(Failure::unreachable)?;
    #[cfg(unix)]
    check_authorities(&shown.to_string(), &bytes)
        .map_err(|problem| Failure::unreachable(anyhow!("the authority: {problem}")))?;
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    Ok(if is_file { Trust::File(path.clone()) } else { Trust::Pem(bytes) })
}

/// The certificate and key to show, if there are any.
pub(crate) fn identity(reach: &Reach) -> Result<Option<Identity>, Failure> {
    let (Some(cert), Some(key)) = (&reach.cert, &reach.key) else { return Ok(None) };
    let (certificate_pem, key_pem) = (read(cert)?, read(key)?);
    #[cfg(unix)]
    {
        check_private("key", key, reach)?;
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        let names = [cert, key].map(|path| path.display().to_string());
        let [cert, key] = names.each_ref().map(String::as_str);
        match check_client((cert, &certificate_pem), (key, &key_pem), now) {
            // The router judges them by its own clock.
            Ok(dates) => dates.iter().for_each(tell),
            Err(problems) => return Err(Failure::usage(anyhow!("{}", problems.join("\n"))).about_reach()),
        }
    }
    Ok(Some(Identity { certificate_pem, key_pem }))
}

/// The token to show: that of the file, or of the environment.
pub(crate) fn token(reach: &Reach) -> Result<Option<Token>, Failure> {
    let text = match &reach.token_file {
        Some(path) => {
            let bytes = read(path)?;
            #[cfg(unix)]
            check_private("token", path, reach)?;
            let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
            let text = text.filter(|text| !text.is_empty() && text.len() <= TOKEN_BYTES_MAX);
            let wrong = || anyhow!("{} holds no token: one line of text, at most 4 KiB", path.display());
            Some(text.ok_or_else(|| Failure::usage(wrong()).about_reach())?)
        }
        // A certificate says more than a token.
        None if reach.cert.is_some() => None,
        None => std::env::var("MILLRACE_TOKEN").ok().map(|text| text.trim().to_owned()),
    };
    Ok(text.filter(|text| !text.is_empty()).map(Token))
}

/// Refuses a private file that every user of this host may use, as ssh does. Who talks to routers
/// of this host alone is told of it, as they are.
#[cfg(unix)]
fn check_private(what: &str, path: &Path, reach: &Reach) -> Result<(), Failure> {
    let Some(problem) = exposed(what, path) else { return Ok(()) };
    let levels = reach.routers().into_levels();
    if reach.accept_open_key || levels.iter().flatten().all(|router| router.is_loopback()) {
        tell(problem);
        return Ok(());
    }
    let cure = "Where that must be, --accept-open-key makes it a warning.";
    Err(Failure::usage(anyhow!(problem)).hint(cure).about_reach())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_file(path, FILE_BYTES_MAX).with_context(|| format!("cannot read {}", path.display()));
    bytes.map_err(|error| Failure::usage(error).about_reach())
}
