//! Who may do what, and how much anybody may take before that is known.
//!
//! Each door has its own list of identities. An identity is proven by a token, a client
//! certificate, or the network that the client comes from. Before a client has one, it may send
//! [`HEAD_BYTES_MAX`] and take [`HEAD_MAX`]; a door without a list admits everybody, and may
//! listen on loopback only.
//!
//! | file | what it has |
//! |---|---|
//! | `access` | [`Access`]: the list of a door, and the answer to "who is this?" |
//! | `bounds` | what a client may take before it has an identity |
//! | `certificate` | whose a client's certificate is |
//! | `live` | [`Live`]: what may be replaced while it is in use |
//! | `network` | [`Network`]: addresses with a prefix |
//! | `peer` | [`Peer`]: what a connection says about its client |
//! | `socket` | [`Socket`]: a TCP connection, with or without TLS |
//! | `standing` | [`Standing`]: a client while it is connected, whose right may be withdrawn |
//! | `tls` | [`DoorTls`]: certificates of doors, and authorities of their clients |
//! | `waiting` | [`WaitingRoom`]: how many clients may have no identity yet |

mod access;
mod bounds;
mod certificate;
mod live;
mod network;
mod peer;
mod socket;
mod standing;
mod tls;
mod waiting;

pub use access::{Access, Admitted, Proof, Refusal, Right, Rule};
pub use bounds::{ACCEPT_PAUSE, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_MAX};
pub use certificate::{Certificate, Name, NoClient};
pub use live::Live;
pub use network::{Network, NetworkError};
pub use peer::Peer;
pub use socket::{Socket, accept};
pub use standing::{Standing, withdrawn};
pub use tls::{DoorTls, DoorTlsError, Renewal};
pub use waiting::{Waiting, WaitingRoom};
