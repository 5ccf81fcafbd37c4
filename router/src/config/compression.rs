//! How bytes are made smaller where that is asked for.

/// How bytes are made smaller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// They stay as they are.
    #[default]
    None,
    /// By Zstandard, at its fastest level, where that saves at least an eighth.
    Zstd,
}

impl Compression {
    /// As settings name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
        }
    }

    /// The one of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::None, Self::Zstd].into_iter().find(|compression| compression.name() == name)
    }
}
