//! A Millrace router with one core, as `millrace-router` runs it.

use std::net::SocketAddr;
use std::time::Duration;

use millrace_router::{DevAuthority, Pinning, Router, RouterConfig};

use super::common::{ServeError, announce};
use crate::placement::Placing;

/// Serves until the process ends. A core looks for packets for `spin` before it sleeps, and keeps
/// so many bytes of history.
pub(super) fn serve(spin: Duration, history_bytes: u64, placing: Placing) -> Result<(), ServeError> {
    let start = |error: &dyn std::fmt::Display| ServeError::Start(error.to_string());
    let authority = DevAuthority::new().map_err(|error| start(&error))?;
    let identity = authority.router("router", &[]).map_err(|error| start(&error))?;
    let mut config = RouterConfig::new(identity);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.admin = None;
    config.cores = 1;
    config.spin = spin;
    config.history.bytes = history_bytes;
    if let Some(processor) = placing.of_server() {
        config.pinning = Pinning::Cpus(vec![processor.id]);
    }
    let router = Router::start(config).map_err(|error| start(&error))?;
    announce(router.addr(), authority.ca_pem().to_owned())?;
    loop {
        std::thread::park();
    }
}
