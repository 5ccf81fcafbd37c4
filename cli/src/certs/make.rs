//! `millrace certs init`, `router`, `client`, `admin` and `token`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::bail;
use millrace_certs::{ClusterAuthority, IssueError, Issued, cluster_id, cluster_secret, day};
use millrace_proto::Token;
use millrace_proto::limits::IDENTITY_BYTES_MAX;
use serde::Serialize;

use super::args::{Certs, What};
use super::folder::{CA, CA_KEY, CLUSTER, Folder, SECRET};
use crate::failure::Failure;
use crate::{show, tell};

/// Schema of the object that `--json` prints.
const SCHEMA: &str = "millrace.certs/1";

/// Makes what the command line asks for, and says what to do with it.
pub(crate) fn run(command: &Certs, json: bool) -> Result<(), Failure> {
    let folder = Folder::new(&command.dir, command.force);
    let now = SystemTime::now();
    let made = match &command.what {
        What::Init { name, days } => init(&folder, &command.dir, name, *days, now),
        What::Router { name, sans, days } => router(&folder, name, sans, *days, now),
        What::Client { name, days } => client(&folder, name, *days, now),
        What::Admin { name, days } => admin(&folder, name, *days, now),
        What::Token { name } => token(&folder, name),
    }
    .map_err(failure)?;
    let mut out = io::stdout().lock();
    let written = if json { show::json_line(&mut out, &made) } else { made.tell(&mut out) };
    written.and_then(|()| out.flush()).map_err(|error| Failure::other(error.into()))
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    /// What to keep where; the first column of people's lines.
    files: Vec<File>,
    /// Last day of validity, UTC; none for a token, which is valid while routers know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    /// The next command.
    next: String,
    #[serde(skip)]
    next_is: &'static str,
}

#[derive(Debug, Serialize)]
struct File {
    path: PathBuf,
    what: &'static str,
}

impl Made {
    fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        let shown: Vec<_> = self.files.iter().map(|file| file.path.display().to_string()).collect();
        let width = shown.iter().map(|path| path.chars().count()).max().unwrap_or_default();
        for (path, file) in shown.iter().zip(&self.files) {
            writeln!(out, "{}", tell::safe(&format!("{path:width$}  {}", file.what)))?;
        }
        let until = self.valid_until.as_deref().unwrap_or("its line is removed");
        writeln!(out, "Valid until {until}. {}:\n  {}", self.next_is, tell::safe(&self.next))
    }
}

fn init(folder: &Folder<'_>, dir: &Path, name: &str, days: u32, now: SystemTime) -> anyhow::Result<Made> {
    folder.must_lack(
        &[CA, CA_KEY, SECRET, CLUSTER],
        "nobody believes certificates of an authority that is gone; give another folder with --dir, or replace it \
         with --force",
    )?;
    let Issued { certificate_pem, key_pem, ends } = ClusterAuthority::make(name, days, now)?;
    let id = cluster_id()?;
    let (secret, pem) = (cluster_secret()?, &certificate_pem);
    folder.write(&[(CA_KEY, &key_pem), (CA, pem), (SECRET, &secret), (CLUSTER, &id)])?;
    let dir = match dir.to_str() {
        Some("millrace-certs") => String::new(),
        _ => format!(" --dir {}", word(dir)),
    };
    Ok(Made {
        schema: SCHEMA,
        kind: "authority",
        name: name.to_owned(),
        files: vec![
            File { path: folder.file(CA), what: "the authority: every router and client needs it" },
            File { path: folder.file(CA_KEY), what: "its key: stays here, no router or client needs it" },
            File { path: folder.file(SECRET), what: "the cluster's secret: every router needs it" },
            File { path: folder.file(CLUSTER), what: "the cluster's id: for routers that forward" },
        ],
        valid_until: Some(day(ends)),
        next: format!("millrace certs router NAME --san HOST{dir}"),
        next_is: "Next, once for each router",
    })
}

fn router(
    folder: &Folder<'_>,
    name: &str,
    sans: &[String],
    days: u32,
    now: SystemTime,
) -> anyhow::Result<Made> {
    let (authority, warning) = folder.authority(now)?;
    let issued = authority.router(name, sans, days, now)?;
    let files = keep(folder, "router", name, &issued)?;
    warn(warning, &authority, &issued, days, now);
    let host = sans.iter().find(|host| !host.contains('*')).map_or("HOST", String::as_str);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let (cert, key, ca, secret) =
        (word(&files[0].path), word(&files[1].path), word(&folder.file(CA)), word(&folder.file(SECRET)));
    let cluster = folder.cluster().map(|id| format!(" --cluster {id}")).unwrap_or_default();
    Ok(Made {
        schema: SCHEMA,
        kind: "router",
        name: name.to_owned(),
        valid_until: Some(day(issued.ends)),
        files,
        next: format!(
            "millrace-router --advertise {host}:7400 --cert {cert} --key {key} --ca {ca} --secret {secret}{cluster}"
        ),
        next_is: "With these files, ca.pem and the secret on its host",
    })
}

fn client(folder: &Folder<'_>, name: &str, days: u32, now: SystemTime) -> anyhow::Result<Made> {
    let (authority, warning) = folder.authority(now)?;
    let issued = authority.client(name, days, now)?;
    let files = keep(folder, "client", name, &issued)?;
    warn(warning, &authority, &issued, days, now);
    let (cert, key, ca) = (word(&files[0].path), word(&files[1].path), word(&folder.file(CA)));
    Ok(Made {
        schema: SCHEMA,
        kind: "client",
        name: name.to_owned(),
        valid_until: Some(day(issued.ends)),
        files,
        next: format!("millrace --router HOST:7400 --ca {ca} --cert {cert} --key {key} sub '*'"),
        next_is: "With these files and ca.pem on its host",
    })
}

fn admin(folder: &Folder<'_>, name: &str, days: u32, now: SystemTime) -> anyhow::Result<Made> {
    let (authority, warning) = folder.authority(now)?;
    let issued = authority.admin(name, days, now)?;
    let files = keep(folder, "admin", name, &issued)?;
    warn(warning, &authority, &issued, days, now);
    let (cert, key, ca) = (word(&files[0].path), word(&files[1].path), word(&folder.file(CA)));
    Ok(Made {
        schema: SCHEMA,
        kind: "admin",
        name: name.to_owned(),
        valid_until: Some(day(issued.ends)),
        files,
        next: format!("millrace ctl --admin https://HOST:7402 --ca {ca} --cert {cert} --key {key} status"),
        next_is: "With these files and ca.pem, at routers with admin.tls_listen",
    })
}

fn token(folder: &Folder<'_>, name: &str) -> anyhow::Result<Made> {
    let is_word = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '#' | '/');
    if name.is_empty() || name.len() > IDENTITY_BYTES_MAX || !name.chars().all(is_word) {
        bail!(
            "`{name}` is no name for a token: one word of at most {IDENTITY_BYTES_MAX} bytes, without # and /"
        );
    }
    let file = format!("client-{name}.token");
    folder
        .must_lack(&[&file], "routers know the token in it; replace it with --force, then its line there")?;
    let token = cluster_secret()?;
    folder.write(&[(&file, &token)])?;
    let hash = Token(token.trim().to_owned()).hash();
    Ok(Made {
        schema: SCHEMA,
        kind: "token",
        name: name.to_owned(),
        valid_until: None,
        files: vec![File { path: folder.file(&file), what: "the token, which nobody else may read" }],
        next: format!("{name} {hash}"),
        next_is: "Next, with the token on its host, add this line to the routers' token file (tls.tokens) and \
                  reload them",
    })
}

/// Writes a certificate and its key.
fn keep(folder: &Folder<'_>, kind: &str, name: &str, issued: &Issued) -> anyhow::Result<Vec<File>> {
    let (cert, key) = (format!("{kind}-{name}.pem"), format!("{kind}-{name}.key"));
    folder
        .must_lack(&[&cert, &key], "to renew it, replace it with --force, then have its holder reload it")?;
    folder.write(&[(&key, &issued.key_pem), (&cert, &issued.certificate_pem)])?;
    Ok(vec![
        File { path: folder.file(&cert), what: "the certificate" },
        File { path: folder.file(&key), what: "its key, which nobody else may read" },
    ])
}

fn warn(
    unsafe_key: Option<String>,
    authority: &ClusterAuthority,
    issued: &Issued,
    days: u32,
    now: SystemTime,
) {
    if let Some(warning) = unsafe_key {
        tell::tell(format_args!("warning: {warning}"));
    }
    let given = issued.ends.duration_since(now).unwrap_or_default().as_secs() / (24 * 3600);
    if given < u64::from(days) {
        tell::tell(format_args!(
            "warning: the certificate ends on {}, because its authority does",
            day(authority.ends())
        ));
    }
}

/// What was given wrongly is wrong usage; the rest did not work.
fn failure(error: anyhow::Error) -> Failure {
    match error.downcast_ref() {
        Some(IssueError::Name { .. } | IssueError::Host { .. } | IssueError::Days(_)) => {
            Failure::usage(error)
        }
        _ => Failure::other(error),
    }
}

/// A path as one word of a shell's line.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+@%:,".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(word(Path::new("/etc/millrace/a.pem")), "/etc/millrace/a.pem");
        assert_eq!(word(Path::new("my certs/it's")), r"'my certs/it'\''s'");
    }
}
