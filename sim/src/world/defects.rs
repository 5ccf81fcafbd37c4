//! Defects that programs count themselves.

use millrace_proto::{CloseCode, RouterId};
use millrace_verify::checker::Findings;

use crate::router::Process;

/// Counters that stay at zero unless a program has a defect: streams are ordered, and everyone
/// speaks the protocol.
pub(super) fn defects(router: RouterId, process: &mut Process, findings: &mut Findings) {
    let control = *process.control().metrics();
    for (what, count) in [
        ("digests of interest that did not agree", control.digests_mismatched),
        ("changes of interest out of order", control.deltas_out_of_order),
        ("mesh frames that were not allowed", control.frames_unexpected),
        ("entries of interest that could not be read", control.interest_refused),
        ("peers that told too much interest", control.interest_overflows),
        ("peers with this router's id", control.id_conflicts),
        ("hellos of another version", control.version_refused),
    ] {
        if count > 0 {
            findings.add("mesh", || format!("router {router} counted {count} {what}"));
        }
    }
    // A lane's hello may find its link gone: the peer dialled it before it heard of that.
    let mut late_hellos = control.hellos_refused;
    for core in process.cores() {
        let metrics = core.metrics();
        for code in [
            CloseCode::Malformed,
            CloseCode::Limit,
            CloseCode::UnknownFrame,
            CloseCode::Version,
            CloseCode::Unexpected,
            CloseCode::Internal,
        ] {
            let count = usize::try_from(code.code()).ok().and_then(|code| metrics.closed.get(code)).copied();
            let excused = if code == CloseCode::Unexpected { late_hellos.min(count.unwrap_or(0)) } else { 0 };
            late_hellos -= excused;
            if let Some(count @ 1..) = count.map(|count| count - excused) {
                findings.add("protocol", || {
                    format!("router {router} closed {count} connections as {}", code.name())
                });
            }
        }
        if metrics.lane_skips > 0 {
            findings
                .add("protocol", || format!("router {router} counted {} skips of lanes", metrics.lane_skips));
        }
    }
}
