//! Requests and replies: 100,000 that wait for their replies at once, what each takes at the
//! router, and whether every reply comes to who asked.
//!
//! ```text
//! outstanding   the responder has all requests, and replies to none until all are there
//! in turn       some at a time, each asked when the one before was answered: how long a reply takes
//! fresh         somebody subscribes at another router, and is asked at once: is it found?
//! nobody        requests that nobody has end at once
//! ```

mod ask;
mod figures;
mod responder;
mod run;
mod settings;

pub use figures::RequestFigures;
pub use run::requests;
pub use settings::RequestSettings;
