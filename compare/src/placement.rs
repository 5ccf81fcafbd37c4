//! Where servers with one busy thread run, and their generator: on two processors, each its own.
//!
//! Two threads that wake each other for every batch may be put on one processor by the kernel;
//! pinned, they cannot be. Servers with several busy threads, and their generator, are left to the
//! kernel. Beside other busy programs all are left to the kernel ([`Placing::Free`]), as a router
//! leaves its cores where others may run on its processors.

use core_affinity::CoreId;

/// Who decides where servers with one busy thread and their generator run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Placing {
    /// Each has a processor of its own: the least noise on a machine that nobody else uses.
    #[default]
    Pinned,
    /// The kernel, as for NATS: a router's default where others use its processors, too.
    Free,
}

impl Placing {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Free => "free",
        }
    }

    /// The processor of a server with one busy thread; `None` leaves it to the kernel.
    pub(crate) fn of_server(self) -> Option<CoreId> {
        processors().filter(|_| self == Self::Pinned).map(|(_, last)| last)
    }

    /// Keeps the calling thread, the server of one core, on its processor.
    pub(crate) fn place_server(self) {
        if let Some(processor) = self.of_server() {
            // Where that is not allowed, the kernel decides.
            core_affinity::set_for_current(processor);
        }
    }

    /// Keeps the calling thread, the generator for such a server, on its processor.
    pub(crate) fn place_generator(self) {
        if let Some((first, _)) = processors().filter(|_| self == Self::Pinned) {
            core_affinity::set_for_current(first);
        }
    }
}

/// The processor for the generator and the one for the server; `None` where there is only one.
fn processors() -> Option<(CoreId, CoreId)> {
    let usable = core_affinity::get_core_ids()?;
    match usable.as_slice() {
        [first, .., last] => Some((*first, *last)),
        _ => None,
    }
}
