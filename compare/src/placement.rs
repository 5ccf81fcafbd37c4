//! Where servers with one busy thread run, and their generator: on two processors, each its own.
//!
//! Two threads that wake each other for every batch may be put on one processor by the kernel;
//! pinned, they cannot be. Servers with several busy threads, and their generator, are left to the
//! kernel.

use core_affinity::CoreId;

/// The processor for the generator and the one for the server; `None` where there is only one.
fn processors() -> Option<(CoreId, CoreId)> {
    let usable = core_affinity::get_core_ids()?;
    match usable.as_slice() {
        [first, .., last] => Some((*first, *last)),
        _ => None,
    }
}

/// The processor of a server with one busy thread.
pub(super) fn of_server() -> Option<CoreId> {
    processors().map(|(_, last)| last)
}

/// Keeps the calling thread, the server of one core, on its processor.
pub(super) fn pin_server() {
    if let Some(processor) = of_server() {
        // Where that is not allowed, the kernel decides.
        core_affinity::set_for_current(processor);
    }
}

/// Keeps the calling thread, the generator for such a server, on its processor.
pub(super) fn pin_generator() {
    if let Some((first, _)) = processors() {
        core_affinity::set_for_current(first);
    }
}
