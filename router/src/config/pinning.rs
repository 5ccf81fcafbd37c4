//! Which CPUs the cores run on.

/// Which CPUs the cores run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pinning {
    /// Each core on one CPU where CPUs are the router's own: isolated by the kernel, in an
    /// exclusive cpuset, or in one of whole CPUs as the static CPU manager gives. Elsewhere
    /// each core begins on a CPU of its own, and the system moves it while others keep that CPU
    /// busy.
    #[default]
    Auto,
    /// Core i on the i-th CPU that this process may use, where there are enough.
    On,
    /// Wherever the system puts them.
    Off,
    /// Core i on the i-th of these CPUs, by the system's numbers.
    Cpus(Vec<usize>),
}
