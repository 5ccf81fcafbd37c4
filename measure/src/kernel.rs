//! What the kernel says of processes and threads: CPU time, waiting, memory; and the signals
//! between a run and its routers.
#![expect(unsafe_code, reason = "clock_gettime, prctl and kill have no safe wrapper in std")]

use std::fs;

/// CPU time of the calling thread, nanoseconds.
#[must_use]
pub fn thread_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of the whole process, nanoseconds.
#[must_use]
pub fn process_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    if failed {
        return 0;
    }
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// How long the calling thread was ready to run while no CPU was free, nanoseconds; 0 where the
/// kernel does not tell.
#[must_use]
pub fn thread_waited_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat(&text).waited_ns
}

/// Time of a process's threads on CPUs, and in the queue for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// On CPUs, nanoseconds.
    pub ran_ns: u64,
    /// Ready to run while no CPU was free, nanoseconds.
    pub waited_ns: u64,
}

/// Times of all threads of a process that live; zeros where the kernel does not tell.
#[must_use]
pub fn process_times(pid: u32) -> Times {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Times::default() };
    let mut sum = Times::default();
    for task in tasks.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let times = schedstat(&text);
        sum.ran_ns += times.ran_ns;
        sum.waited_ns += times.waited_ns;
    }
    sum
}

fn schedstat(text: &str) -> Times {
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0));
    Times { ran_ns: fields.next().unwrap_or(0), waited_ns: fields.next().unwrap_or(0) }
}

/// Resident memory of this process, bytes; 0 where the kernel does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    resident_bytes_of(std::process::id())
}

/// Resident memory of a process, bytes; 0 where the kernel does not tell.
#[must_use]
pub fn resident_bytes_of(pid: u32) -> u64 {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/statm")) else { return 0 };
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// The unit of `/proc/stat`, on every architecture that this runs on.
const TICK_NS: u64 = 10_000_000;

/// CPU time since boot that a virtual machine was ready to use and its host gave to others,
/// nanoseconds; 0 where the kernel does not tell.
#[must_use]
pub fn stolen_ns() -> u64 {
    stolen_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default()) * TICK_NS
}

/// `cpu` user nice system idle iowait irq softirq steal …, the sum over all CPUs.
fn stolen_ticks(text: &str) -> u64 {
    let sum = text.lines().next().filter(|line| line.starts_with("cpu "));
    sum.and_then(|line| line.split_ascii_whitespace().nth(8)?.parse().ok()).unwrap_or(0)
}

/// Load average of the host over one minute; 0 where the kernel does not tell.
#[must_use]
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// The calling process ends in order when the one that started it is gone.
pub fn end_with_parent() {
    // SAFETY: no pointers are passed; the kernel checks the numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
}

/// Asks a process that this one started, and has not waited for, to end.
pub fn ask_to_end(child: &std::process::Child) {
    if let Ok(pid) = libc::pid_t::try_from(child.id()) {
        // SAFETY: no pointers are passed; the child was not reaped, so the number is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}

#[cfg(test)]
mod tests {
    use super::stolen_ticks;

    #[test]
    fn stolen_time_is_the_eighth_figure_of_all_cpus() {
        assert_eq!(stolen_ticks("cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n"), 80);
        assert_eq!(stolen_ticks("cpu  10 20 30 40\n"), 0, "an old kernel");
        assert_eq!(stolen_ticks(""), 0);
    }
}
