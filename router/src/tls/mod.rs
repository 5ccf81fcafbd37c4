//! The TLS configurations of a router, made of its identity, which is [`millrace_certs`]'s.
//!
//! One certificate authority vouches for a cluster. A certificate's role stands in a URI of its
//! subject alternative names: `millrace://router/NAME` or `millrace://client/NAME`. Routers trust
//! each other by role, not by host name, because a mesh is dialled by addresses out of DNS that no
//! certificate names. Clients check the host name of their router as usual.

mod peer;

pub use millrace_certs::{AuthorityError, DevAuthority, Identity, IdentityError};
pub(crate) use millrace_certs::{Role, role_of};
pub(crate) use peer::{admin_config, client_config, resumption, server_config};
