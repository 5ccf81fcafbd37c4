//! The command line of `millrace-agent`, and its environment variables.

use std::path::PathBuf;

use clap::Parser;

use super::checked::{AgentSettings, AgentSettingsError};
use super::file::AgentFile;
use super::size::Size;

const AFTER_HELP: &str = "\
Examples, with a router in dev mode on this host (start one: millrace-router):
  millrace-agent --spool /tmp/agent --socket /tmp/agent.sock
  curl --unix-socket /tmp/agent.sock -d 'hello' 'http://agent/events?tag=app=x'
      answers 202 and the event's id: it is on disk
  curl -d 'hello' 'http://127.0.0.1:7480/events?tag=app=x&wait=routed'
      waits until every receiver's queue has it
  curl -N 'http://127.0.0.1:7480/events?select=app=x&name=watch'
      receives events, and goes on where it was when it comes back
  logger --server 127.0.0.1 --port 5140 'disk degraded'
      publishes with tags severity, facility, host, app

With a cluster:
  millrace-agent --config /etc/millrace/agent.toml --check
      says what is wrong, if anything
  millrace-agent --config /etc/millrace/agent.toml --print-config

Defaults < file < environment < flags: the last one counts. SIGHUP reads the
agent's certificate and the log's filter anew, whole or not at all.
docs/using/agent.md has every key.";

/// The daemon of a host: keeps what its programs publish until the cluster has it.
///
/// What is not yet at a router waits on disk.
/// Local programs publish over a unix socket, over HTTP on loopback, or with syslog, and need
/// neither a router nor a library.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "millrace-agent", version, after_help = AFTER_HELP)]
pub struct AgentCli {
    /// Configuration file (TOML).
    #[arg(long, short, value_name = "FILE", env = "MILLRACE_AGENT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Only checks settings, certificates and addresses. Exit code 2: start would refuse them.
    #[arg(long)]
    pub check: bool,
    /// Prints the settings that count as a file, and ends.
    #[arg(long)]
    pub print_config: bool,
    /// Prints one line of JSON on standard output when the doors are open: where they are.
    #[arg(long)]
    pub ready_json: bool,
    /// Prints the manual page, for section 8, and ends.
    #[arg(long)]
    pub print_man: bool,
    /// A router, any of which will do. Repeatable. Default 127.0.0.1:7400.
    #[arg(long, value_name = "HOST[:PORT]", env = "MILLRACE_ROUTER", value_delimiter = ',')]
    pub router: Vec<String>,
    /// The authority that signed the routers' certificates, PEM. Default: that of a router in dev
    /// mode on this host.
    #[arg(long, value_name = "FILE", env = "MILLRACE_CA")]
    pub ca: Option<PathBuf>,
    /// The agent's certificate for routers that ask for one, PEM.
    #[arg(long, value_name = "FILE", env = "MILLRACE_CERT")]
    pub cert: Option<PathBuf>,
    /// The key of --cert, PEM.
    #[arg(long, value_name = "FILE", env = "MILLRACE_KEY")]
    pub key: Option<PathBuf>,
    /// Where this host is: routers of the same zone are preferred, others used when there is none.
    #[arg(long, value_name = "NAME", env = "MILLRACE_ZONE")]
    pub zone: Option<String>,
    /// Where events wait. Default /var/lib/millrace-agent.
    #[arg(long, value_name = "FOLDER", env = "MILLRACE_AGENT_SPOOL")]
    pub spool: Option<PathBuf>,
    /// Bytes of all producers' events, at least 10MiB. Default 1GiB.
    #[arg(long, value_name = "BYTES", env = "MILLRACE_AGENT_SPOOL_BYTES")]
    pub spool_bytes: Option<String>,
    /// Percent of the file system that stay free. Default 10.
    #[arg(long, value_name = "PERCENT", env = "MILLRACE_AGENT_SPOOL_FREE")]
    pub spool_free: Option<u8>,
    /// What happens to events for which there is no room: shed-oldest, shed-newest or refuse.
    /// Default shed-oldest.
    #[arg(long, value_name = "POLICY", env = "MILLRACE_AGENT_SPOOL_FULL")]
    pub spool_full: Option<String>,
    /// Whether payloads are compressed on disk: none or zstd. Default none.
    #[arg(long, value_name = "none|zstd", env = "MILLRACE_AGENT_SPOOL_COMPRESSION")]
    pub spool_compression: Option<String>,
    /// The unix socket, or `off`. Default /run/millrace/agent.sock.
    #[arg(long, value_name = "PATH", env = "MILLRACE_AGENT_SOCKET")]
    pub socket: Option<String>,
    /// Where the HTTP door is, on loopback, or `off`. Default 127.0.0.1:7480; port 0 is any free
    /// one.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_AGENT_HTTP")]
    pub http: Option<String>,
    /// Where the syslog door takes datagrams, or `off`. Default 127.0.0.1:5140.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_AGENT_SYSLOG_UDP")]
    pub syslog_udp: Option<String>,
    /// Where the syslog door takes TCP connections, or `off`. Default 127.0.0.1:5140.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_AGENT_SYSLOG_TCP")]
    pub syslog_tcp: Option<String>,
    /// Where /status, /metrics, /livez and /readyz are, or `off`. Default 127.0.0.1:7484.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_AGENT_ADMIN")]
    pub admin: Option<String>,
    /// The tag `fqdn` of every event. Default: the host's name.
    #[arg(long, value_name = "NAME", env = "MILLRACE_AGENT_FQDN")]
    pub fqdn: Option<String>,
    /// What is logged, as RUST_LOG says it. Default info.
    #[arg(long, value_name = "FILTER", env = "MILLRACE_AGENT_LOG")]
    pub log: Option<String>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentCliError {
    /// The file cannot be read.
    #[error("{0}")]
    File(String),
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] AgentSettingsError),
}

impl AgentCli {
    /// Reads the file, puts environment and flags over it, and says the defaults of the rest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(&self) -> Result<AgentFile, AgentCliError> {
        let mut file = match &self.config {
            Some(path) => AgentFile::read(path).map_err(AgentCliError::File)?,
            None => AgentFile::default(),
        };
        self.put_over(&mut file);
        Ok(file.complete(&rustix::system::uname().nodename().to_string_lossy()))
    }

    /// Checks [`AgentCli::file`].
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn settings(&self) -> Result<AgentSettings, AgentCliError> {
        Ok(AgentSettings::of(&self.file()?)?)
    }

    fn put_over(&self, file: &mut AgentFile) {
        fn put<T: Clone>(place: &mut Option<T>, given: &Option<T>) {
            if let Some(given) = given {
                *place = Some(given.clone());
            }
        }
        if !self.router.is_empty() {
            file.routers.addresses = Some(self.router.clone());
        }
        put(&mut file.routers.ca, &self.ca);
        put(&mut file.routers.cert, &self.cert);
        put(&mut file.routers.key, &self.key);
        put(&mut file.routers.zone, &self.zone);
        put(&mut file.spool.folder, &self.spool);
        put(&mut file.spool.max_bytes, &self.spool_bytes.clone().map(Size::Text));
        put(&mut file.spool.free_percent, &self.spool_free);
        put(&mut file.spool.on_full, &self.spool_full);
        put(&mut file.spool.compression, &self.spool_compression);
        put(&mut file.unix.listen, &self.socket);
        put(&mut file.http.listen, &self.http);
        put(&mut file.syslog.udp, &self.syslog_udp);
        put(&mut file.syslog.tcp, &self.syslog_tcp);
        put(&mut file.admin.listen, &self.admin);
        put(&mut file.identity.fqdn, &self.fqdn);
        put(&mut file.log.filter, &self.log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_fit_a_narrow_screen() {
        for line in AFTER_HELP.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
