//! Playing a server until whoever started it is gone.

use std::io::Read;
use std::time::Duration;

use super::common::ServeError;
use super::served::Served;
use super::{millrace, relay, stock};
use crate::placement::Placing;

/// What docs/performance.md says of `cores.spin`.
const SPIN: Duration = Duration::from_micros(50);
/// What a router with history keeps.
const HISTORY_BYTES: u64 = 64 << 20;

/// Serves until standard input ends.
///
/// # Errors
/// [`ServeError`].
pub fn serve(served: Served, placing: Placing) -> Result<(), ServeError> {
    std::thread::Builder::new().name("watch".into()).spawn(|| {
        // Whoever started this process is gone when its end of the pipe is.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    })?;
    match served {
        Served::Millrace => millrace::serve(Duration::ZERO, 0, placing),
        Served::MillraceSpin => millrace::serve(SPIN, 0, placing),
        Served::MillraceHistory => millrace::serve(Duration::ZERO, HISTORY_BYTES, placing),
        Served::Ceiling => relay::serve(placing),
        Served::CeilingStockQuinn => stock::serve(placing),
    }
}
