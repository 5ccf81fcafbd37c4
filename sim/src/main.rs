//! scratch
fn main() {
    let a: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    for seed in a[0]..a[0]+a[1] {
    let size = millrace_sim::scenario::Size { faults: a[2] as u32, ..Default::default() };
    let t = std::time::Instant::now();
    let r = millrace_sim::run(seed, size, None, false);
    eprintln!("{r} {:?} {:?}\n gaps {:?} drop {:?} sess {} {:?} {:#?}", t.elapsed(), r.faults, r.gaps, r.dropped, r.receiver_sessions, r.found_by(), r.findings.iter().take(a[3] as usize).collect::<Vec<_>>());
    }
}
