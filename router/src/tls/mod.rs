//! Who this router is, whom it believes, and what that means for connections.
//!
//! One certificate authority speaks for a cluster. A certificate's role stands in a URI of its subject alternative names:
//! `millrace://router/NAME` or `millrace://client/NAME`. Routers believe each other by role, not by host name: a mesh is
//! dialled by addresses out of DNS that no certificate names. Clients check the host name of their router as usual.

mod authority;
mod check;
mod identity;
mod peer;
mod pem;
mod role;

pub use authority::{AuthorityError, DevAuthority};
pub(crate) use check::SOON;
pub use identity::{Identity, IdentityError};
pub(crate) use peer::{client_config, resumption, server_config};
pub(crate) use role::{Role, role_of};
