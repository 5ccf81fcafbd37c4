//! What the system says of this process, under the names that Prometheus' own client libraries use.
//! Where the system has no `/proc`, there is nothing.

use std::fs;

use millrace_engine::metrics::Kind;

use super::text::Page;

/// Adds what is known.
pub(super) fn write(page: &mut Page) {
    let Some(numbers) = read() else { return };
    let levels = [
        ("process_resident_memory_bytes", "Resident memory", numbers.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory", numbers.virtual_bytes),
        ("process_open_fds", "Open file descriptors", numbers.open_files),
        ("process_max_fds", "Most file descriptors that may be open", numbers.open_files_max),
        ("process_threads", "Threads", numbers.threads),
    ];
    page.family("process_cpu_seconds", Kind::Counter, "CPU time, user and system");
    page.sample(&[], numbers.cpu_seconds);
    page.family("process_start_time_seconds", Kind::Level, "Start, in seconds since 1970");
    page.sample(&[], numbers.start_seconds);
    for (name, help, level) in levels {
        page.family(name, Kind::Level, help);
        page.sample(&[], level);
    }
}

struct Numbers {
    cpu_seconds: f64,
    start_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: u64,
    open_files: u64,
    open_files_max: u64,
}

fn read() -> Option<Numbers> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command may have spaces and brackets; the fields behind it have not (proc_pid_stat(5),
    // from field 3 on).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u64>().ok()?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let open_files_max = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_ascii_whitespace().next()?.parse().ok());
    Some(Numbers {
        cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
        start_seconds: booted as f64 + field(22)? as f64 / ticks,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * rustix::param::page_size() as u64,
        threads: field(20)?,
        open_files: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        open_files_max: open_files_max.unwrap_or(u64::MAX),
    })
}
