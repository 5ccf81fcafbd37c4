//! Where a router in dev mode leaves the certificate of its authority, and where clients on the same host look for it.
//!
//! One rule for both sides: `$XDG_RUNTIME_DIR/millrace/dev-ca.pem`, or `$HOME/.cache/millrace/dev-ca.pem` without the
//! former. A client trusts what it finds in both places, because the two processes may have been started from different
//! sessions. Only routers on loopback addresses are ever trusted through it.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where a router in dev mode writes its authority's certificate; `None` when neither variable is set.
#[must_use]
pub fn ca_path() -> Option<PathBuf> {
    candidates(|name| std::env::var_os(name)).into_iter().next()
}

/// Where clients look, in order.
#[must_use]
pub fn ca_candidates() -> Vec<PathBuf> {
    candidates(|name| std::env::var_os(name))
}

fn candidates(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let folder = |name: &str, below: &str| {
        let base = variable(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(base).join(below).join("dev-ca.pem"))
    };
    [folder("XDG_RUNTIME_DIR", "millrace"), folder("HOME", ".cache/millrace")].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_folder_comes_before_the_cache() {
        let paths = candidates(|name| Some(OsString::from(format!("/{name}"))));
        assert_eq!(
            paths,
            [
                PathBuf::from("/XDG_RUNTIME_DIR/millrace/dev-ca.pem"),
                PathBuf::from("/HOME/.cache/millrace/dev-ca.pem")
            ]
        );
        assert!(candidates(|_| None).is_empty());
        assert!(candidates(|_| Some(OsString::new())).is_empty());
    }
}
