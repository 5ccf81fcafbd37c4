//! What of the past a subscription asks for.

use millrace_proto::control::SourcePosition;

/// What of the past comes before live events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PastRequest {
    /// What arrived this long ago, and since then, microseconds by the routers' clocks. 0: nothing,
    /// and of an owner that the cursor does not have all that is kept.
    pub since_us: u64,
    /// What stands at these positions and behind them.
    pub cursor: Vec<SourcePosition>,
    /// In place of both: of each tag set the newest event that is kept.
    pub is_newest_only: bool,
}
