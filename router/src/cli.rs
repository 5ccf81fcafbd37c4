//! The command line of `millrace-router`: which files, which flags, and what they come to.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use millrace_proto::DEFAULT_PORT;
use toml::{Table, Value};

use crate::config::raw::{ADMIN_DEFAULT, Pin, Raw, Span, assignment, overlay};
use crate::config::{Pinning, RouterConfig};
use crate::tls::{DevAuthority, Identity};

const AFTER_HELP: &str = "\
Examples:
  A router for trying things out, on this machine only; it makes its own certificates:
      millrace-router
  A second one that joins it:
      millrace-router --listen 127.0.0.1:0 --seed 127.0.0.1:7400
  A router of a real cluster, found through DNS:
      millrace-router --cert router.pem --key router.key --ca ca.pem \\
          --advertise router-0.mesh.example:7400 --seed mesh.example
  What would be used, and whether it is valid:
      millrace-router --config router.toml --check --print-config

Settings come from defaults, then the file, then the environment (MILLRACE_…), then flags; the last one counts.
Any key of the file can be set by --set section.key=value.";

/// Routes events from publishers to receivers, alone or in a mesh of routers.
#[derive(Debug, Parser)]
#[command(name = "millrace-router", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "MILLRACE_CONFIG")]
    config: Option<PathBuf>,
    /// UDP address for clients and peers; port 0 lets the system choose [default: 127.0.0.1:7400 in development mode,
    /// else [::]:7400].
    #[arg(long, value_name = "ADDR:PORT", env = "MILLRACE_LISTEN")]
    listen: Option<SocketAddr>,
    /// How others reach this router; also its name in the mesh for good [default: the address that is bound].
    #[arg(long, value_name = "HOST:PORT", env = "MILLRACE_ADVERTISE")]
    advertise: Option<String>,
    /// Where other routers are: HOST:PORT, a DNS name (all of its addresses), or an SRV name. Repeatable.
    #[arg(long = "seed", value_name = "NAME", env = "MILLRACE_SEEDS", value_delimiter = ',')]
    seeds: Vec<String>,
    /// A name for people.
    #[arg(long, env = "MILLRACE_NAME")]
    name: Option<String>,
    /// Threads that route [default: 1].
    #[arg(long, value_name = "N", env = "MILLRACE_CORES")]
    cores: Option<u16>,
    /// CPUs for them: off, auto, or numbers such as 0,2,4 [default: off].
    #[arg(long, value_name = "CPUS", env = "MILLRACE_PIN")]
    pin: Option<String>,
    /// TCP address of the admin page (/livez /readyz /metrics /status), or off [default: 127.0.0.1:7401].
    #[arg(long, value_name = "ADDR:PORT", env = "MILLRACE_ADMIN")]
    admin: Option<String>,
    /// This router's certificate chain (PEM). Without --cert, --key and --ca: development mode.
    #[arg(long, value_name = "FILE", env = "MILLRACE_CERT")]
    cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", env = "MILLRACE_KEY")]
    key: Option<PathBuf>,
    /// The authority that is believed (PEM).
    #[arg(long, value_name = "FILE", env = "MILLRACE_CA")]
    ca: Option<PathBuf>,
    /// A secret that all routers of the cluster share (any file of 16 bytes or more).
    #[arg(long, value_name = "FILE", env = "MILLRACE_SECRET")]
    secret: Option<PathBuf>,
    /// Time for clients to move when the router ends [default: 5s].
    #[arg(long, value_name = "TIME", env = "MILLRACE_GRACE")]
    grace: Option<String>,
    /// Any key of the configuration file. Repeatable.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Prints one line of JSON on standard output when the router is ready.
    #[arg(long)]
    pub(crate) ready_json: bool,
    /// Writes log lines as JSON.
    #[arg(long)]
    pub(crate) log_json: bool,
    /// Only checks the settings.
    #[arg(long)]
    pub(crate) check: bool,
    /// Prints the settings that count, as a configuration file, and ends.
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// What the command line comes to.
pub(crate) struct Plan {
    pub(crate) config: RouterConfig,
    /// Time for clients to move at the end.
    pub(crate) grace: Duration,
    /// The settings as a file.
    pub(crate) printed: String,
    /// The development authority, in development mode.
    pub(crate) dev: Option<DevAuthority>,
    /// Nobody asked for this very admin port: another will do.
    pub(crate) any_admin_port: bool,
    /// Where clients find the authority, if it is a file.
    pub(crate) ca_path: Option<PathBuf>,
}

impl Cli {
    /// Reads the file, puts everything together, and checks it.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(crate) fn plan(&self) -> Result<Plan> {
        let mut table = Table::try_from(Raw::default()).context("the default settings")?;
        let mut given = self.file()?;
        overlay(&mut given, self.flags()?);
        let any_admin_port = given.get("admin").is_none();
        overlay(&mut table, given);
        let raw: Raw = table.clone().try_into().context("the settings are not valid")?;
        let dev = match (&raw.tls.cert, &raw.tls.key, &raw.tls.ca) {
            (None, None, None) => Some(DevAuthority::open(&DevAuthority::folder()?)?),
            _ => None,
        };
        let listen = raw.listen.unwrap_or_else(|| default_listen(dev.is_some()));
        if dev.is_some() && !listen.ip().is_loopback() {
            bail!(
                "development mode listens on loopback addresses only, not on {listen}: its certificates are made on \
                 this machine, for this machine. Give --cert, --key and --ca to listen elsewhere"
            );
        }
        let identity = identity(&raw, dev.as_ref())?;
        let ca_path = raw.tls.ca.clone().or_else(|| dev.as_ref()?.ca_path().map(Into::into));
        let config = RouterConfig {
            name: raw.name,
            listen,
            advertise: raw.advertise,
            cores: raw.cores.count,
            pinning: pinning(&raw.cores.pin)?,
            kernel_steering: raw.cores.kernel_steering,
            admin: admin(&raw.admin.listen)?,
            require_client_certificate: raw.tls.require_client_certificate,
            mesh: raw.mesh.into(),
            limits: raw.limits.into(),
            ..RouterConfig::new(identity)
        };
        config.check()?;
        table.insert("listen".into(), Value::String(listen.to_string()));
        let Span(grace) = raw.grace.0;
        Ok(Plan { config, grace, printed: toml::to_string(&table)?, dev, any_admin_port, ca_path })
    }

    fn file(&self) -> Result<Table> {
        let Some(path) = &self.config else { return Ok(Table::new()) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        // Once into its type, for errors that name the line; then as a layer.
        toml::from_str::<Raw>(&text).with_context(|| format!("{} is not valid", path.display()))?;
        Ok(toml::from_str(&text)?)
    }

    fn flags(&self) -> Result<Table> {
        let mut table = Table::new();
        let mut set = |path: &str, value: Option<Value>| {
            if let Some(value) = value {
                let (section, key) = path.split_once('.').unwrap_or(("", path));
                let place = if section.is_empty() {
                    Some(&mut table)
                } else {
                    let section = table.entry(section).or_insert_with(|| Table::new().into());
                    section.as_table_mut()
                };
                if let Some(place) = place {
                    place.insert(key.to_owned(), value);
                }
            }
        };
        let path =
            |path: &Option<PathBuf>| path.as_ref().map(|path| Value::String(path.display().to_string()));
        let text = |text: &Option<String>| text.clone().map(Value::String);
        set("name", text(&self.name));
        set("listen", self.listen.map(|listen| Value::String(listen.to_string())));
        set("advertise", text(&self.advertise));
        set("grace", text(&self.grace));
        set("cores.count", self.cores.map(|cores| Value::Integer(cores.into())));
        set("cores.pin", self.pin.as_deref().map(pin_value));
        set("admin.listen", text(&self.admin));
        set("tls.cert", path(&self.cert));
        set("tls.key", path(&self.key));
        set("tls.ca", path(&self.ca));
        set("tls.secret", path(&self.secret));
        let seeds: Vec<Value> = self.seeds.iter().cloned().map(Value::String).collect();
        set("mesh.seeds", (!seeds.is_empty()).then_some(Value::Array(seeds)));
        for text in &self.set {
            overlay(&mut table, assignment(text).map_err(anyhow::Error::msg)?);
        }
        Ok(table)
    }
}

fn identity(raw: &Raw, dev: Option<&DevAuthority>) -> Result<Identity> {
    if let Some(dev) = dev {
        return Ok(dev.router(raw.name.as_deref().unwrap_or("dev"), &[])?);
    }
    let tls = &raw.tls;
    let (Some(cert), Some(key), Some(ca)) = (&tls.cert, &tls.key, &tls.ca) else {
        bail!(
            "a router needs all of --cert, --key and --ca (tls.cert, tls.key, tls.ca), or none: development mode"
        );
    };
    Ok(Identity::from_files(cert, key, ca, tls.secret.as_deref())?)
}

/// All addresses of both families, or of IPv4 where there is no IPv6.
fn default_listen(dev: bool) -> SocketAddr {
    if dev {
        return SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT));
    }
    let v6 = UdpSocket::bind("[::]:0").is_ok();
    if v6 { ([0; 16], DEFAULT_PORT).into() } else { ([0; 4], DEFAULT_PORT).into() }
}

fn admin(text: &str) -> Result<Option<SocketAddr>> {
    match text {
        "off" => Ok(None),
        text => {
            let parsed = text.parse();
            parsed.map(Some).with_context(|| {
                format!("admin.listen: `{text}` is neither an address such as {ADMIN_DEFAULT} nor `off`")
            })
        }
    }
}

fn pinning(pin: &Pin) -> Result<Pinning> {
    match pin {
        Pin::Cpus(cpus) => Ok(Pinning::Cpus(cpus.clone())),
        Pin::Word(word) => match word.as_str() {
            "off" => Ok(Pinning::Off),
            "auto" => Ok(Pinning::Auto),
            word => bail!("cores.pin: `{word}` is neither `off`, `auto` nor a list of CPU numbers"),
        },
    }
}

/// `0,2,4` as a list, everything else as a word.
fn pin_value(text: &str) -> Value {
    let numbers: Result<Vec<i64>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    match numbers {
        Ok(numbers) => Value::Array(numbers.into_iter().map(Value::Integer).collect()),
        Err(_) => Value::String(text.to_owned()),
    }
}
