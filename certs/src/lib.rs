//! Certificates of Millrace: what all programs agree on about TLS.
//!
//! One certificate authority speaks for a cluster. A certificate's role stands in a URI of its
//! subject alternative names: `millrace://router/NAME` or `millrace://client/NAME`, or the same as
//! a SPIFFE id. Routers believe each other by role, not by host name, because a mesh is dialled by
//! addresses out of DNS that no certificate names. Clients check the host name of their router as
//! usual.
//!
//! | module | feature | what it is |
//! |---|---|---|
//! | [`provider`] | | the cryptography of every Millrace connection |
//! | [`places`] | | where routers in development mode leave their authority, and clients look for it |
//! | `files` | | files that people name, read as a whole and no further |
//! | `words` | | why a handshake failed, for people |
//! | `role` | `identity` | what a certificate says its holder is |
//! | `pem`, `check` | `identity` | files as operators bring them: everything wrong with them, told at once |
//! | `identity` | `identity` | a router's chain, key, authority and secret, read and found right |
//! | `exposed` | `identity` | keys and secrets that others may use, too |
//! | `authority` | `authority` | the authority of development mode, which makes certificates |
//! | `cluster` | `authority` | the authority of a real cluster, for `millrace certs` |
//! | `keep` | `authority` | the authority's files, which one user alone may use |
//!
//! Nothing here opens a socket.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

#[cfg(feature = "authority")]
mod authority;
#[cfg(feature = "identity")]
mod check;
#[cfg(feature = "authority")]
mod cluster;
#[cfg(feature = "identity")]
mod exposed;
mod files;
#[cfg(feature = "identity")]
mod identity;
#[cfg(feature = "authority")]
mod keep;
#[cfg(feature = "identity")]
mod pem;
pub mod places;
pub mod provider;
#[cfg(feature = "identity")]
mod role;
mod words;

#[cfg(feature = "authority")]
pub use authority::{AuthorityError, DevAuthority};
#[cfg(feature = "identity")]
#[cfg(feature = "identity")]
pub use check::client::{check_authorities, check_client};
#[cfg(feature = "authority")]
pub use cluster::{ClusterAuthority, IssueError, Issued, cluster_id, cluster_secret, day};
#[cfg(feature = "identity")]
pub use exposed::{exposed, open_to_others};
pub use files::{FILE_BYTES_MAX, read_file};
#[cfg(feature = "identity")]
pub use identity::{Identity, IdentityError};
#[cfg(feature = "authority")]
pub use keep::write_private;
pub use provider::crypto_provider;
#[cfg(feature = "identity")]
pub use role::{Role, role_of};
pub use words::handshake_failure;
