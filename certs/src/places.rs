//! Where a router in development mode leaves its authority, and where clients on the same host look
//! for the authority's certificate.
//!
//! One rule for both sides: the folder is `$XDG_RUNTIME_DIR/millrace`, or `$HOME/.cache/millrace`
//! without the former. A client trusts what it finds in both, because the two processes may have
//! been started from different sessions. Only routers on loopback addresses are ever trusted that
//! way.

use std::ffi::OsString;
use std::path::PathBuf;

/// The authority's certificate in its folder.
pub const CA_CERTIFICATE: &str = "dev-ca.pem";
/// The authority's key in its folder.
pub const CA_KEY: &str = "dev-ca.key";

/// The folder of this user's authority; `None` when neither variable is set.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    folders(|name| std::env::var_os(name)).into_iter().next()
}

/// Where clients look for the authority's certificate, in order.
#[must_use]
pub fn ca_candidates() -> Vec<PathBuf> {
    let folders = folders(|name| std::env::var_os(name));
    folders.into_iter().map(|folder| folder.join(CA_CERTIFICATE)).collect()
}

fn folders(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let folder = |name: &str, below: &str| {
        let base = variable(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(base).join(below))
    };
    [folder("XDG_RUNTIME_DIR", "millrace"), folder("HOME", ".cache/millrace")].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_folder_comes_before_the_cache() {
        let paths = folders(|name| Some(OsString::from(format!("/{name}"))));
        assert_eq!(
            paths,
            [PathBuf::from("/XDG_RUNTIME_DIR/millrace"), PathBuf::from("/HOME/.cache/millrace")]
        );
        assert!(folders(|_| None).is_empty());
        assert!(folders(|_| Some(OsString::new())).is_empty());
    }
}
