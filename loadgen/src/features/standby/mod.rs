//! Standby: several publishers of one numbered stream, of which one takes effect. The one that does
//! is killed again and again, and receivers must get every number once.
//!
//! ```text
//! member processes (same stream) ─► routers ─► receivers (this process)
//!     ▲ the holder is killed (SIGKILL), and starts again     │ every number once? how long a pause?
//!     └──────────────────────── run ◄────────────────────────┘
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `settings` | sizes and times |
//! | `member` | the program of a member's process |
//! | `said` | what a member tells the run |
//! | `members` | the processes, and who holds the set |
//! | `ear` | a receiver, its numbers and its pauses |
//! | `run`, `figures` | the preset from start to end, and what it measured |

mod ear;
mod figures;
mod member;
mod members;
mod run;
mod said;
mod settings;

pub use figures::StandbyFigures;
pub use member::{MemberPart, take_part};
pub(crate) use members::{Members, MembersPlan};
pub use run::standby;
pub use settings::StandbySettings;
pub(crate) use settings::TAG;
