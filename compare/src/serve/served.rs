//! The servers that this program plays itself.

/// Which server to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Served {
    /// A router with one core.
    Millrace,
    /// A router with one core that looks for packets for 50 µs before it sleeps.
    MillraceSpin,
    /// A router with one core that keeps history in memory.
    MillraceHistory,
    /// A relay of 16 KiB buffers on our QUIC loop.
    Ceiling,
    /// The same relay on quinn and tokio, one thread.
    CeilingStockQuinn,
}

impl Served {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Millrace => "millrace",
            Self::MillraceSpin => "millrace-spin",
            Self::MillraceHistory => "millrace-history",
            Self::Ceiling => "ceiling",
            Self::CeilingStockQuinn => "ceiling-stock-quinn",
        }
    }
}
