//! Routers by their numbers, as a client's attachment knows them.

use millrace_client::session::attachment::Router;

/// A router, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub(super) u32);

impl Router for Number {
    type Address = u32;

    fn address(&self) -> Option<u32> {
        Some(self.0)
    }

    /// Every client knows all routers already.
    fn named(_: &str) -> Option<Self> {
        None
    }
}
