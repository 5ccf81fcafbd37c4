//! Who may do what: identities of clients, what they may publish and receive, and the tags that
//! routers stamp on their events.
//!
//! ```text
//! certificate, token ─► Roll::admit ─► Rights ─┬─ Subscribe: asked AND allowed (AllowList::narrow)
//!                                              └─ a tag set's definition: stamped, then taken or refused
//! ```
//!
//! Both are decided where a client names something, a selector or a tag set, and never when an
//! event passes. A [`Roll`] is replaced as a whole: each core goes through its sessions then and
//! closes those that lost a right.
//!
//! How much an identity may take is its [`Quota`]. Its sessions, selectors, groups, sets, names and
//! rates are counted in [`Meters`], which all cores of a router share.

mod accept;
mod allow;
mod grant;
mod meter;
mod quota;
mod roll;
mod scarce;
#[cfg(test)]
mod tests;

pub use accept::Accept;
pub use allow::{ALLOWED_MAX, AllowList};
pub use grant::{Entered, Grant, Refusal, Rights, STAMPS_MAX};
pub use meter::{EntryUsage, Meters, Seat, UsageMetrics};
pub use quota::{Quota, Scarce};
pub use roll::{Caller, Roll};
