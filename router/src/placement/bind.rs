//! Puts the calling thread on its CPUs.

use rustix::thread::{CpuSet, sched_setaffinity};

use super::Placement;
use super::plan::Seat;

/// Puts the calling thread, which runs core `core`, on its seat. Where the system refuses, the core
/// runs wherever the system puts it, and the log says so.
pub(crate) fn seat_core(placement: &Placement, core: u16) {
    let (cpu, usable) = match placement.seats.get(usize::from(core)) {
        Some(Seat::Pinned(cpu)) => (*cpu, None),
        Some(Seat::Soft(cpu)) => (*cpu, Some(&placement.usable)),
        Some(Seat::Anywhere) | None => return,
    };
    let seated = bind([cpu]).and_then(|()| match usable {
        // The thread has moved, and the system may move it on from here.
        Some(usable) => bind(usable.iter().copied()),
        None => Ok(()),
    });
    if let Err(error) = seated {
        tracing::warn!(core, cpu, %error, "cannot seat this core; it runs wherever the system puts it");
    }
}

/// Keeps the calling thread, which does not route, off the CPUs that cores are pinned to.
pub(crate) fn seat_other(placement: &Placement) {
    if !placement.others.is_empty() {
        // Where the system refuses, the thread shares a core's CPU, at a lower priority.
        let _ = bind(placement.others.iter().copied());
    }
}

fn bind(cpus: impl IntoIterator<Item = usize>) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    cpus.into_iter().filter(|cpu| *cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu));
    sched_setaffinity(None, &set)
}
