//! Looks for links to other clusters that cannot work.

use std::net::IpAddr;

use millrace_client::RouterAddress;

use super::forwards::ForwardEntry;
use super::router::{ConfigError, RouterConfig};
use super::tables::Entry;

impl RouterConfig {
    /// Looks for links that cannot work.
    pub(super) fn check_forwards(&self) -> Result<(), ConfigError> {
        let wrong = |name, problem: String| Err(ConfigError { name, problem });
        if self.cluster.is_none() && !(self.forwards.is_empty() && self.accepts.is_empty()) {
            let problem =
                "[[forward]] and [[accept]] need this cluster's id; `millrace certs init` makes one";
            return wrong("cluster", problem.to_owned());
        }
        for entry in &self.forwards {
            let of_entry =
                |problem| ConfigError { name: "forward", problem: format!("\"{}\": {problem}", entry.name) };
            entry.check().map_err(of_entry)?;
            if let Some(own) = self.leads_home(entry) {
                let problem = format!(
                    "\"{}\": `to` leads to this cluster ({own}), and a cluster forwards nothing to itself",
                    entry.name
                );
                return wrong("forward", problem);
            }
        }
        Ok(())
    }

    /// The setting that says that a link leads to this cluster, if one does.
    fn leads_home(&self, entry: &ForwardEntry) -> Option<&'static str> {
        let to = entry.address().ok()?;
        let is_there = |text: &str| text.parse::<RouterAddress>().is_ok_and(|address| address == to);
        let is_own = |text: &String| is_there(text);
        if self.advertise.as_ref().is_some_and(is_own) {
            return Some("advertise");
        }
        let is_local =
            |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let is_here = self.listen.ip().is_loopback() || self.listen.ip().is_unspecified();
        let listens = to.port() == self.listen.port()
            && ((is_here && is_local(to.host())) || to.host().parse() == Ok(self.listen.ip()));
        if listens && self.listen.port() != 0 {
            return Some("listen");
        }
        if self.mesh.seeds.iter().any(is_own) {
            return Some("mesh.seeds");
        }
        self.mesh.routes.iter().any(is_own).then_some("mesh.routes")
    }
}
