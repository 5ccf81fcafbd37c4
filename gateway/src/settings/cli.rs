//! The command line of `millrace-gateway`, and its environment variables.

use std::path::PathBuf;

use clap::Parser;

use super::checked::Settings;
use super::error::SettingsError;
use super::file::File;

const AFTER_HELP: &str = "\
Examples, with a router in dev mode on this host (start one: millrace-router):
  millrace-gateway                          a door for HTTP and web browsers
  http://127.0.0.1:7480/                    a page that shows live events
  curl -d 'hello' 'http://127.0.0.1:7480/events?tag=service=web'
      publishes an event, and answers when all receivers have it
  curl -N 'http://127.0.0.1:7480/events?select=service=web'
      receives events as they come (server-sent events)
  millrace-gateway --syslog-udp 127.0.0.1:5140 --syslog-tcp 127.0.0.1:5140
  logger --server 127.0.0.1 --port 5140 'disk degraded'
      an event with tags severity, facility, host, app
  millrace-gateway --nats 127.0.0.1:4222    a door for NATS clients as they are
  millrace-gateway --mqtt 127.0.0.1:1883    a door for MQTT clients as they are
  mosquitto_pub -t sensors/kitchen/temp -m 21.5
      the topic is the tag `topic`, unless a template says otherwise
  mosquitto_sub -t 'sensors/#'

With a cluster, for other hosts:
  millrace-gateway --config gateway.toml --check    what is wrong, if anything

  # gateway.toml
  [routers]
  addresses = [\"routers.example\"]
  ca = \"ca.pem\"
  cert = \"gateway.pem\"
  key = \"gateway.key\"
  [http]
  listen = \"0.0.0.0:7480\"
  [[http.identity]]
  name = \"deploy\"
  token_file = \"deploy.token\"
      # curl -H \"Authorization: Bearer $(cat deploy.token)\" …
  rights = [\"publish\"]

Defaults < file < environment < flags: the last one counts. SIGHUP reads
identities, tokens, certificates and the log's filter anew, whole or not at all.
docs/using/doors.md has a section for each door.";

/// Doors into a Millrace cluster: HTTP, CloudEvents, web browsers, syslog, NATS, MQTT.
///
/// Without arguments it joins a router in dev mode on this host and opens the HTTP door on
/// loopback.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "millrace-gateway", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Configuration file (TOML).
    #[arg(long, short, value_name = "FILE", env = "MILLRACE_GATEWAY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Only checks settings, certificates, tokens and addresses. Exit code 2: start would refuse
    /// them.
    #[arg(long)]
    pub check: bool,
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
    /// The gateway's certificate for routers that ask for one, PEM.
    #[arg(long, value_name = "FILE", env = "MILLRACE_CERT")]
    pub cert: Option<PathBuf>,
    /// The key of --cert, PEM.
    #[arg(long, value_name = "FILE", env = "MILLRACE_KEY")]
    pub key: Option<PathBuf>,
    /// Where this gateway is: routers of the same zone are preferred, others used when there is
    /// none.
    #[arg(long, value_name = "NAME", env = "MILLRACE_ZONE")]
    pub zone: Option<String>,
    /// Where the HTTP door is, or `off`. Default 127.0.0.1:7480; port 0 is any free one.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_GATEWAY_HTTP")]
    pub http: Option<String>,
    /// Where the syslog door takes datagrams, as in 127.0.0.1:5140. Default off.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_GATEWAY_SYSLOG_UDP")]
    pub syslog_udp: Option<String>,
    /// Where the syslog door takes TCP connections. Default off.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_GATEWAY_SYSLOG_TCP")]
    pub syslog_tcp: Option<String>,
    /// Where the NATS door is, as in 127.0.0.1:4222. Default off.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_GATEWAY_NATS")]
    pub nats: Option<String>,
    /// Where the MQTT door is, as in 127.0.0.1:1883. Default off.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_GATEWAY_MQTT")]
    pub mqtt: Option<String>,
    /// Where /metrics, /livez and /readyz are, or `off`. Default 127.0.0.1:7482.
    #[arg(long, value_name = "ADDRESS:PORT", env = "MILLRACE_GATEWAY_ADMIN")]
    pub admin: Option<String>,
    /// What is logged, as RUST_LOG says it. Default info.
    #[arg(long, value_name = "FILTER", env = "MILLRACE_GATEWAY_LOG")]
    pub log: Option<String>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The file cannot be read.
    #[error("{0}")]
    File(String),
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Cli {
    /// Reads the file, puts environment and flags over it, and checks everything.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn settings(&self) -> Result<Settings, CliError> {
        Ok(Settings::of(&self.file()?)?)
    }

    /// Reads the file, and puts environment and flags over it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(&self) -> Result<File, CliError> {
        let mut file = match &self.config {
            Some(path) => File::read(path).map_err(CliError::File)?,
            None => File::default(),
        };
        self.put_over(&mut file);
        Ok(file)
    }

    fn put_over(&self, file: &mut File) {
        let Self {
            router, ca, cert, key, zone, http, syslog_udp, syslog_tcp, nats, mqtt, admin, log, ..
        } = self;
        if !router.is_empty() {
            file.routers.addresses = Some(router.clone());
        }
        put(&mut file.routers.ca, ca);
        put(&mut file.routers.cert, cert);
        put(&mut file.routers.key, key);
        put(&mut file.routers.zone, zone);
        put(&mut file.http.listen, http);
        put(&mut file.syslog.udp, syslog_udp);
        put(&mut file.syslog.tcp, syslog_tcp);
        put(&mut file.nats.listen, nats);
        put(&mut file.mqtt.listen, mqtt);
        put(&mut file.admin.listen, admin);
        put(&mut file.log.filter, log);
    }
}

fn put<T: Clone>(place: &mut Option<T>, given: &Option<T>) {
    if let Some(given) = given {
        *place = Some(given.clone());
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

    #[test]
    fn a_zone_is_taken_and_an_empty_one_is_none() {
        let zone_of = |file: &str, given: Option<&str>| {
            let mut file = File::parse(file).unwrap();
            Cli { zone: given.map(str::to_owned), ..Cli::default() }.put_over(&mut file);
            Settings::of(&file).unwrap().routers.zone
        };
        assert_eq!(zone_of("", None), None);
        assert_eq!(zone_of("routers.zone = 'eu'", None).as_deref(), Some("eu"));
        assert_eq!(zone_of("routers.zone = 'eu'", Some("us")).as_deref(), Some("us"));
        assert_eq!(zone_of("routers.zone = 'eu'", Some("")), None, "a pod without the label");
    }

    #[test]
    fn flags_count_more_than_the_file() {
        let mut file = File::parse("http.listen = '127.0.0.1:1'\nadmin.listen = '127.0.0.1:2'").unwrap();
        let cli = Cli { http: Some("127.0.0.1:3".to_owned()), ..Cli::default() };
        cli.put_over(&mut file);
        assert_eq!(file.http.listen.as_deref(), Some("127.0.0.1:3"));
        assert_eq!(file.admin.listen.as_deref(), Some("127.0.0.1:2"));
    }
}
