//! What a run says on standard error.
//!
//! A line that cannot be written, because the reader is gone or the disk is full, is dropped: it
//! never ends the run that it is about, as `eprintln!` would.

use std::fmt::Display;
use std::io::Write;

/// Says one line.
pub fn tell(text: impl Display) {
    // Nobody is left to be told of the failure.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
