//! One run: connect, subscribe, warm up, publish at the wanted rate, let it settle, judge; and
//! again at a lower rate when the host could not hold it, at many rates to find the highest, or
//! disturbed.

mod attempt;
mod bench;
mod drive;
mod error;
mod headroom;
mod result;
mod search;
mod settle;
mod setup;
mod timeline;

pub use self::attempt::Attempt;
pub use self::drive::run;
pub use self::error::RunError;
pub use self::headroom::Headroom;
pub use self::result::{Disturbed, Noticed, RunOptions, RunResult};
pub use self::search::Search;
pub use self::setup::SetUp;
pub use self::timeline::Point;
