//! The command line of `millrace-router`, and the settings that it makes with file and environment.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{CommandFactory, Parser};
use millrace_certs::exposed;
use millrace_proto::DEFAULT_PORT;

use crate::config::RouterConfig;
use crate::config::address;
use crate::config::flags::Flags;
use crate::config::layers::Layers;
use crate::config::settings::{Settings, TlsFiles};
use crate::config::strays::strays;
use crate::config::tokens;
use crate::reachable::Reachable;
use crate::tls::{DevAuthority, Identity};

const AFTER_HELP: &str = "\
Examples:
  A router for trying things out, on this machine only (it makes certificates):
      millrace-router
  A second one that joins it:
      millrace-router --listen 127.0.0.1:0 --seed 127.0.0.1:7400
  A router of a real cluster, found through DNS:
      millrace-router --cert router.pem --key router.key --ca ca.pem \\
          --advertise router-0.mesh.example:7400 --seed mesh.example
  What would be used, and whether it is valid:
      millrace-router --config router.toml --check
      millrace-router --config router.toml --print-config

Defaults < file < environment (MILLRACE_…) < flags: the last one counts. --set
section.key=value sets any key of the file (--print-config shows them all).
SIGHUP reads settings and certificates anew.";

/// Routes events from publishers to receivers, alone or in a mesh of routers.
#[derive(Debug, Parser)]
#[command(name = "millrace-router", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Configuration file (TOML) [env: MILLRACE_CONFIG].
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// Any key of the configuration file. Repeatable.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Prints one line of JSON on standard output when the router is ready.
    #[arg(long)]
    pub(crate) ready_json: bool,
    /// Writes log lines as JSON (log.json).
    #[arg(long)]
    log_json: bool,
    /// Only checks settings, certificates and addresses. Exit code 2: start would refuse them.
    #[arg(long)]
    pub(crate) check: bool,
    /// Prints the settings that count, as a configuration file with every key, and ends.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Prints the reference page of all settings (Markdown), and ends.
    #[arg(long)]
    pub(crate) print_reference: bool,
    /// Prints the manual page, for section 8, and ends.
    #[arg(long)]
    pub(crate) print_man: bool,
}

/// The manual page of this command line, as `man` reads it.
///
/// # Errors
/// None but what writing to memory can fail with.
pub(crate) fn manual() -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).section("8").render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// The settings and the identity that a router starts with.
pub(crate) struct Plan {
    pub(crate) config: RouterConfig,
    pub(crate) settings: Settings,
    /// The development authority, in development mode.
    pub(crate) dev: Option<DevAuthority>,
    /// Whether another admin port will do, because nobody has asked for this one.
    pub(crate) any_admin_port: bool,
    /// Where clients find the authority, if it is a file.
    pub(crate) ca_path: Option<PathBuf>,
    /// Warnings of environment variables that are almost a setting's.
    strays: Vec<String>,
}

impl Plan {
    /// Settings that start accepts and that would fail in the first hour, each with the cure.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let RouterConfig { identity, listen, advertise, .. } = &self.config;
        let mut warnings = self.strays.clone();
        if self.dev.is_none() {
            warnings.extend_from_slice(identity.warnings());
        }
        let advertised = match advertise {
            Some(advertise) => advertise.clone(),
            None => {
                let reached = Reachable::from(*listen);
                warnings.extend(reached.warning());
                reached.address.to_string()
            }
        };
        let host = advertised.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
        if self.dev.is_none() && advertise.is_some() && !identity.covers(host) {
            warnings.push(format!(
                "the certificate does not name `{host}`, which this router advertises: clients that dial it there will \
                 refuse it; have the certificate issued with that name (tls.cert), or advertise one of its names"
            ));
        }
        let seeds = self.config.mesh.seeds.iter();
        warnings.extend(
            seeds
                .filter_map(|seed| address::absent_zone(seed))
                .map(|problem| format!("`mesh.seeds`: {problem}: nobody is dialled there")),
        );
        warnings
    }

    /// What of the log is written.
    pub(crate) fn log_filter(&self) -> &str {
        let default = if self.dev.is_some() { "warn" } else { "info" };
        self.settings.log.filter.as_deref().unwrap_or(default)
    }
}

impl Cli {
    /// Reads file, environment and flags.
    ///
    /// # Errors
    ///
    /// The setting, its place, and what is wrong with it.
    fn layers(&self) -> Result<Layers, String> {
        let mut layers = Layers::default();
        let set = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let from_environment = || set("MILLRACE_CONFIG").map(PathBuf::from);
        if let Some(path) = self.config.clone().or_else(from_environment) {
            layers.put_file(&path)?;
        }
        layers.put_environment(set)?;
        self.flags.put_into(&mut layers)?;
        if self.log_json {
            layers.put_assignment("log.json=true")?;
        }
        self.set.iter().try_for_each(|text| layers.put_assignment(text))?;
        Ok(layers)
    }

    /// Merges file, environment and flags, and checks the result.
    ///
    /// # Errors
    ///
    /// The setting, its place, and what is wrong with it.
    pub(crate) fn plan(&self) -> Result<Plan> {
        let layers = self.layers().map_err(anyhow::Error::msg)?;
        let any_admin_port = !layers.is_given("admin.listen");
        let mut settings = layers.settings;
        let dev = match &settings.tls {
            TlsFiles { cert: None, key: None, ca: None, secret: None, .. } => {
                Some(DevAuthority::open(&DevAuthority::folder()?)?)
            }
            _ => None,
        };
        let listen = settings.general.listen.unwrap_or_else(|| default_listen(dev.is_some()));
        settings.general.listen = Some(listen);
        if dev.is_some() && !listen.ip().is_loopback() {
            bail!(
                "development mode listens on loopback addresses only, not on {listen}: its certificates are made on \
                 this machine, for this machine. Give --cert, --key and --ca to listen elsewhere"
            );
        }
        if dev.is_some() && settings.admin.tls_listen.is_some() {
            bail!(
                "admin.tls_listen obeys certificates of operators, and nobody makes them in development mode: \
                 give --cert, --key and --ca, or use admin.listen"
            );
        }
        let identity = identity(&settings, dev.as_ref())?;
        let ca_path = settings.tls.ca.clone().or_else(|| dev.as_ref()?.ca_path().map(Into::into));
        let tokens =
            settings.tls.tokens.as_deref().map(tokens::read).transpose().map_err(anyhow::Error::msg)?;
        let config = RouterConfig::of(&settings, identity, tokens.unwrap_or_default(), listen);
        config.check()?;
        let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Ok(Plan { config, settings, dev, any_admin_port, ca_path, strays: strays(variables) })
    }
}

fn identity(settings: &Settings, dev: Option<&DevAuthority>) -> Result<Identity> {
    if let Some(dev) = dev {
        return Ok(dev.router(settings.general.name.as_deref().unwrap_or("dev"), &[])?);
    }
    let TlsFiles { cert, key, ca, secret, .. } = &settings.tls;
    let (Some(cert), Some(key), Some(ca)) = (cert, key, ca) else {
        let missing: Vec<&str> = [("--cert", cert), ("--key", key), ("--ca", ca)]
            .into_iter()
            .filter_map(|(flag, file)| file.is_none().then_some(flag))
            .collect();
        bail!(
            "a router needs all of --cert, --key and --ca (tls.cert, tls.key, tls.ca), or none: development mode; \
             missing: {}",
            missing.join(", ")
        );
    };
    // Who is on this host alone is posed as on this host alone: that is warned of.
    let is_local = settings.general.listen.is_some_and(|listen| listen.ip().is_loopback());
    let is_accepted = settings.tls.accept_open_keys || is_local;
    for (what, path) in [("key", Some(key)), ("cluster's secret", secret.as_ref())] {
        let exposed = path.and_then(|path| exposed(what, path));
        if let Some(problem) = exposed.filter(|_| !is_accepted) {
            bail!("{problem}; where that must be, `tls.accept_open_keys = true` makes it a warning");
        }
    }
    Ok(Identity::from_files(cert, key, ca, secret.as_deref())?)
}

/// All addresses of both families; those of IPv4 where the host has no IPv6.
fn default_listen(dev: bool) -> SocketAddr {
    if dev {
        return SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT));
    }
    let v6 = UdpSocket::bind("[::]:0").is_ok();
    if v6 { ([0; 16], DEFAULT_PORT).into() } else { ([0; 4], DEFAULT_PORT).into() }
}
