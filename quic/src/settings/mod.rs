//! Settings of a core, of the connections that it accepts, and of those that it dials.

mod core;
mod endpoint;
mod error;
mod newcomers;
mod transport;

pub use core::CoreSettings;
pub(crate) use endpoint::Jumbo;
pub use endpoint::{Admission, ClientSettings, Dial, ServerSettings, WideProtocol};
pub use error::SettingsError;
pub use newcomers::{AddressBlock, AddressBlockError, NewcomerLimits};
pub use transport::TransportSettings;
