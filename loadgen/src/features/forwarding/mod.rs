//! Forwarding: a ring of three clusters, each linked with both others both ways. Each receiver must
//! have each event once, on however many ways it came; nothing goes round; and when one cluster is
//! killed, the others miss nothing of each other.
//!
//! ```text
//!        a ◄────► b
//!        ▲        ▲        a publisher and a receiver in each cluster
//!        └──► c ◄─┘
//! ```

mod figures;
mod hearing;
mod run;
mod settings;
mod site;

pub use figures::ForwardFigures;
pub use run::forwarding;
pub use settings::ForwardSettings;
