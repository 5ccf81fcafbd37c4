//! Groups with levels: members that say that they are busy, that come and go, and that are killed.
//! How soon the next level has the next event, and whether anything is lost or done twice unmarked.
//!
//! ```text
//! busy    level 1 says that it is busy, and later that it is not: level 2 takes over at once, and
//!         gives back once level 1 was there for a while
//! flap    level 1 comes and goes each second: the group does not
//! killed  a process with the level 1 of many groups is killed: level 2 has what it had not done
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `settings` | sizes, times, who is called how |
//! | `feed` | the publisher of all groups |
//! | `member`, `crowd` | members in this process, and the program of those that are killed |
//! | `ledger` | who took which event, when |
//! | `run`, `phases`, `figures` | the preset from start to end, and what it measured |

mod crowd;
mod feed;
mod figures;
mod ledger;
mod member;
mod phases;
mod run;
mod settings;

pub use crowd::{CrowdPart, play_crowd};
pub use figures::GroupFigures;
pub use run::groups;
pub use settings::GroupSettings;
