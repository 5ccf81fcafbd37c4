//! A run as one page that needs nothing else: figures, plots over time, the curve of latencies, the
//! host, the verdict.

mod page;
mod plot;

pub use self::page::page;
