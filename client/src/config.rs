//! How a client reaches its routers: addresses, trust, identity and time limits.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use millrace_certs::{FILE_BYTES_MAX, read_file};
use millrace_proto::proof::Token;

use crate::address::{AddressError, RouterAddress};
use crate::levels::RouterLevels;
use crate::setters::setters;

/// Settings of a [`Client`](crate::Client): [`Config::new`], [`Config::from_env`] or the defaults,
/// changed by setters.
///
/// ```
/// use std::time::Duration;
///
/// use millrace_client::{Config, Trust};
///
/// let config = Config::new(["router-1.example".parse()?, "router-2.example:7401".parse()?])
///     .trust(Trust::File("ca.pem".into()))
///     .connect_within(Duration::from_secs(60));
/// assert_eq!(config.routers.len(), 2);
/// # Ok::<_, millrace_client::AddressError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Routers to attach to; one is enough, because every router reaches the whole cluster. The
    /// client tries them in a new random order each time, and all addresses of a name. Default
    /// `127.0.0.1:7400`.
    pub routers: Vec<RouterAddress>,
    /// Further levels of routers, each for when those before it are unreachable or busy: another
    /// site, for instance. A client that had to go to one tries the levels before it every
    /// [`return_every`](field@Self::return_every), beside its connection, and comes back by itself.
    /// Default none.
    pub fallbacks: Vec<Vec<RouterAddress>>,
    /// How often a client that is attached to a router of a further level tries those before it;
    /// each pause is between half of it and all of it. Default 30 s.
    pub return_every: Duration,
    /// Where this client is. It prefers routers that are in the same zone: it goes there first when
    /// it knows some, moves there from another router when it hears of one, goes elsewhere when
    /// there is none, and comes back as behind [`fallbacks`](field@Self::fallbacks). Without zones
    /// of routers it changes nothing. Default none.
    pub zone: Option<String>,
    /// Whether a client without zones looks for a nearer router. When its router is 2 ms away or
    /// more, it measures up to eight others beside its connection, and moves to the one with the
    /// shortest round trip when that is at most half and 2 ms shorter, twice in a row. Default yes.
    pub nearest: bool,
    /// Authorities whose certificates the client trusts. Default: that of a router in dev mode on
    /// this host.
    pub trust: Trust,
    /// This client's certificate and key, for routers that ask for them. Default none.
    pub identity: Option<Identity>,
    /// The certificate and key of a program that renews them while it runs, in place of
    /// [`identity`](field@Self::identity). Default none.
    pub renewed_identity: Option<RenewedIdentity>,
    /// A token that proves who this client is to routers that know it, for clients without a
    /// certificate; at most 4,096 bytes. The library never logs it. Default none.
    pub token: Option<Token>,
    /// Name that the router's certificate must have instead of the host of its address. Default
    /// none.
    pub server_name: Option<String>,
    /// Silence after which the client gives up a connection on which it expects something: one with
    /// receivers, or whose publisher has used up its credit, waits for a flush, or has waited
    /// longer than
    /// [`PublisherOptions::received_within`](field@crate::PublisherOptions::received_within). The
    /// client sends two pings in that time. Default 1.5 s; at least five round trips.
    pub silence: Duration,
    /// Silence after which the client gives up any other connection. Default 30 s.
    pub idle_silence: Duration,
    /// How long making one connection may take, the router's answer to the greeting included.
    /// Default 5 s.
    pub connect_timeout: Duration,
    /// How long a new publisher or receiver goes on looking for its first router after it has tried
    /// each once. Default zero: it tries each once. A router that refuses ends the search at once,
    /// because it will refuse again.
    pub connect_within: Duration,
    /// Bound of the longest pause between attempts to reconnect. Bounds start at 50 ms and double;
    /// the client draws each pause at random between zero and its bound, because the clients of a
    /// dead router are not to come back all at once. Default 5 s.
    pub backoff_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            routers: vec![RouterAddress::default()],
            fallbacks: Vec::new(),
            return_every: Duration::from_secs(30),
            zone: None,
            nearest: true,
            trust: Trust::Dev,
            identity: None,
            renewed_identity: None,
            token: None,
            server_name: None,
            silence: Duration::from_millis(1500),
            idle_silence: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            connect_within: Duration::ZERO,
            backoff_max: Duration::from_secs(5),
        }
    }
}

/// A variable of the environment that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// An address of `MILLRACE_ROUTER` cannot be read.
    #[error("MILLRACE_ROUTER: {0}")]
    Router(#[from] AddressError),
    /// Only one of `MILLRACE_CERT` and `MILLRACE_KEY` is set.
    #[error("MILLRACE_CERT and MILLRACE_KEY go together: set both or none")]
    HalfIdentity,
    /// A file that a variable names cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Config {
    /// The defaults with these routers. Without any, no router is ever reached.
    #[must_use]
    pub fn new(routers: impl IntoIterator<Item = RouterAddress>) -> Self {
        Self::default().routers(routers)
    }

    /// Sets [`routers`](field@Self::routers).
    #[must_use]
    pub fn routers(mut self, routers: impl IntoIterator<Item = RouterAddress>) -> Self {
        self.routers = routers.into_iter().collect();
        self
    }

    /// Sets [`routers`](field@Self::routers) to the first of `levels`, and
    /// [`fallbacks`](field@Self::fallbacks) to the rest.
    #[must_use]
    pub fn router_levels(mut self, levels: RouterLevels) -> Self {
        let mut levels = levels.into_levels().into_iter();
        self.routers = levels.next().unwrap_or_default();
        self.fallbacks = levels.collect();
        self
    }

    /// All levels of routers.
    pub(crate) fn levels(&self) -> Vec<Vec<RouterAddress>> {
        let first = std::iter::once(self.routers.clone());
        first.chain(self.fallbacks.iter().cloned()).collect()
    }

    /// Sets [`fallbacks`](field@Self::fallbacks).
    #[must_use]
    pub fn fallbacks(mut self, levels: impl IntoIterator<Item = Vec<RouterAddress>>) -> Self {
        self.fallbacks = levels.into_iter().collect();
        self
    }

    setters! {
        return_every: Duration,
        zone: impl Into<Option<String>>,
        nearest: bool,
        trust: Trust,
        identity: impl Into<Option<Identity>>,
        renewed_identity: impl Into<Option<RenewedIdentity>>,
        token: impl Into<Option<Token>>,
        server_name: impl Into<Option<String>>,
        silence: Duration,
        idle_silence: Duration,
        connect_timeout: Duration,
        connect_within: Duration,
        backoff_max: Duration,
    }

    /// The defaults, changed by the variables that the command line reads, too: `MILLRACE_ROUTER`
    /// (addresses, separated by commas; levels, by semicolons), `MILLRACE_CA`, `MILLRACE_CERT` and
    /// `MILLRACE_KEY` (PEM files), `MILLRACE_TOKEN` (a token, not a file), `MILLRACE_ZONE`. An
    /// empty variable counts as unset.
    ///
    /// # Errors
    /// [`EnvironmentError`] names the variable or the file.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvironmentError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let mut config = Self::default();
        if let Some(routers) = set("MILLRACE_ROUTER") {
            config = config.router_levels(routers.to_string_lossy().parse()?);
        }
        config.zone = set("MILLRACE_ZONE").map(|zone| zone.to_string_lossy().into_owned());
        if let Some(path) = set("MILLRACE_CA") {
            config.trust = Trust::File(path.into());
        }
        let read = |path: OsString| {
            read_file(path.as_ref(), FILE_BYTES_MAX)
                .map_err(|source| EnvironmentError::Read { path: path.into(), source })
        };
        config.identity = match (set("MILLRACE_CERT"), set("MILLRACE_KEY")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate_pem: read(certificate)?, key_pem: read(key)? })
            }
            _ => return Err(EnvironmentError::HalfIdentity),
        };
        config.token = set("MILLRACE_TOKEN").map(|token| Token(token.to_string_lossy().trim().to_owned()));
        Ok(config)
    }
}

/// Authorities whose certificates a client trusts.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Trust {
    /// The authority that a router in dev mode left on this host ([`dev`](crate::dev)); for
    /// loopback addresses only. The client reads it for each connection, because a restarted router
    /// has a new one.
    #[default]
    Dev,
    /// The authorities in a PEM file, which the client reads for each connection.
    File(PathBuf),
    /// The authorities in PEM text.
    Pem(Vec<u8>),
}

/// A client's certificate and key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and those between it and its authority, PEM.
    pub certificate_pem: Vec<u8>,
    /// The private key, PEM.
    pub key_pem: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// A certificate and key that may be renewed while connections are open: connections from then on
/// have the new ones. All clones are renewed together.
///
/// Routers know a client's publishers and names by the name in its certificate, so that a new
/// certificate has the same one.
#[derive(Debug, Clone)]
pub struct RenewedIdentity(Arc<RwLock<Identity>>);

impl RenewedIdentity {
    /// The first one.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self(Arc::new(RwLock::new(identity)))
    }

    /// The one that the next connection has.
    #[must_use]
    pub fn now(&self) -> Identity {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another one in its place.
    pub fn renew(&self, identity: Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Config, EnvironmentError> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Config::from_variables(find)
    }

    #[test]
    fn variables_change_the_defaults_and_empty_ones_do_not() {
        let config =
            of(&[("MILLRACE_ROUTER", "a, b:1"), ("MILLRACE_CA", "ca.pem"), ("MILLRACE_TOKEN", "t\n")])
                .unwrap();
        assert_eq!((config.token, config.zone), (Some(Token("t".to_owned())), None));
        assert_eq!(of(&[("MILLRACE_ZONE", "eu-1")]).unwrap().zone.as_deref(), Some("eu-1"));
        let shown: Vec<_> = config.routers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a:7400", "b:1"]);
        assert!(matches!(config.trust, Trust::File(path) if path.as_os_str() == "ca.pem"));
        let config = of(&[("MILLRACE_ROUTER", ""), ("MILLRACE_CERT", ""), ("MILLRACE_KEY", "")]).unwrap();
        assert_eq!((config.routers, config.identity.is_none()), (Config::default().routers, true));
        assert!(matches!(of(&[("MILLRACE_CERT", "c.pem")]), Err(EnvironmentError::HalfIdentity)));
        let config = of(&[("MILLRACE_ROUTER", "a, b; c;d")]).unwrap();
        let shown: Vec<Vec<_>> =
            config.levels().iter().map(|level| level.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(shown, [vec!["a:7400", "b:7400"], vec!["c:7400"], vec!["d:7400"]]);
        assert!(matches!(of(&[("MILLRACE_ROUTER", "a b")]), Err(EnvironmentError::Router(_))));
    }
}
