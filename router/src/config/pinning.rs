//! Which CPUs the cores run on.

/// Which CPUs the cores run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pinning {
    /// Wherever the system puts them.
    #[default]
    Off,
    /// Core i on the i-th CPU that this process may use, where there are enough.
    Auto,
    /// Core i on the i-th of these CPUs, by the system's numbers.
    Cpus(Vec<usize>),
}
