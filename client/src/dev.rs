//! Where a router in dev mode leaves the certificate of its authority, and where clients on the
//! same host look for it: see [`millrace_certs::places`].

use std::path::PathBuf;

pub use millrace_certs::places::ca_candidates;

/// Where a router in dev mode writes its authority's certificate; `None` when neither
/// `XDG_RUNTIME_DIR` nor `HOME` is set.
#[must_use]
pub fn ca_path() -> Option<PathBuf> {
    ca_candidates().into_iter().next()
}
