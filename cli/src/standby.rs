//! `millrace pub --standby`: a member of a set of publishers of which one takes effect.

use anyhow::anyhow;
use millrace_client::{Change, RefusedReason, StandbyOptions, StandbyState};

use crate::failure::Failure;
use crate::publishing::{Pub, SourceSeq};
use crate::tell::tell;

/// Bytes of numbered lines that a waiting member keeps, at most, for each line of its window: lines
/// of a log seldom exceed it.
const LINE_BYTES: usize = 1024;

/// How the publisher takes part in its set, if it does. It says what it is, whenever that changes.
pub(crate) fn options(command: &Pub) -> Option<StandbyOptions> {
    let set = command.standby.clone()?;
    let (name, is_quiet) = (set.clone(), command.quiet);
    let bytes = command.window.saturating_mul(LINE_BYTES);
    let options = StandbyOptions::new(set).rank(command.rank).preempt(command.preempt);
    Some(options.window(command.window, bytes).on_standby(move |state| {
        if !is_quiet && let Some(words) = words(&name, state) {
            tell(words);
        }
    }))
}

fn words(set: &str, state: StandbyState) -> Option<String> {
    Some(match state {
        StandbyState::Active { generation } => format!("{set}: active, generation {generation}"),
        StandbyState::Waiting { generation, is_held: true } => {
            format!("{set}: on standby, another member is active, generation {generation}")
        }
        StandbyState::Fenced { generation } => format!(
            "{set}: fenced, another member took over in generation {generation}; on standby from here on"
        ),
        _ => return None,
    })
}

/// The number of a line: `count` lines have come, this one included. None for a line that does not
/// begin with one.
pub(crate) fn source_seq(how: SourceSeq, count: u64, line: &[u8]) -> Option<u64> {
    match how {
        SourceSeq::Line => Some(count),
        SourceSeq::Start => {
            let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
            std::str::from_utf8(&line[..digits]).ok()?.parse().ok()
        }
    }
}

/// Why a member's command ends with this change, if it does: the router does not take it into its
/// set.
pub(crate) fn end(change: &Change) -> Option<Failure> {
    let Change::Dropping { reason, message } = change else { return None };
    let is_final = matches!(
        reason,
        RefusedReason::Name | RefusedReason::Unsupported | RefusedReason::Publisher | RefusedReason::Limit
    );
    is_final
        .then(|| Failure::other(anyhow!("the router does not take this publisher into its set: {message}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_by_their_place_or_by_what_they_begin_with() {
        let start = |line: &str| source_seq(SourceSeq::Start, 7, line.as_bytes());
        assert_eq!(source_seq(SourceSeq::Line, 7, b"x"), Some(7));
        assert_eq!(start("0042 up"), Some(42));
        assert_eq!(start("1700000000000000000,web-1"), Some(1_700_000_000_000_000_000));
        assert_eq!(start("up 42"), None);
        assert_eq!(start(""), None);
        assert_eq!(start("99999999999999999999"), None, "more than 64 bits");
    }
}
