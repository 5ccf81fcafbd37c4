//! What may be wrong with a router's place in the mesh.

/// What is wrong with this router's place in the mesh, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Another process has this router's id, or advertises its address.
    Twin,
    /// It is linked with nobody, and there should be others.
    Alone,
    /// Others answer it, and none of them reaches the address that it advertises.
    Unreached,
    /// It does not reach a router that others reach, and that it reached before or has as a seed.
    Unlinked,
}

impl Trouble {
    /// Its name in `/status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Twin => "twin",
            Self::Alone => "alone",
            Self::Unreached => "unreached",
            Self::Unlinked => "unlinked",
        }
    }
}
