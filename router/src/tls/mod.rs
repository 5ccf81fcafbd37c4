//! Who this router is, whom it believes, and what that means for connections: the identity is
//! [`millrace_certs`]'s, the TLS configurations made of it are here.
//!
//! One certificate authority speaks for a cluster. A certificate's role stands in a URI of its
//! subject alternative names: `millrace://router/NAME` or `millrace://client/NAME`. Routers believe
//! each other by role, not by host name: a mesh is dialled by addresses out of DNS that no
//! certificate names. Clients check the host name of their router as usual.

mod peer;

pub use millrace_certs::{AuthorityError, DevAuthority, Identity, IdentityError};
pub(crate) use millrace_certs::{Role, SOON, role_of};
pub(crate) use peer::{client_config, resumption, server_config};
