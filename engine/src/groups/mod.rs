//! Groups: receivers that share work, in levels. One member gets each event.
//!
//! Two places decide. The **owner** of a run ([`Groups`]) chooses a member, by the rules of
//! `placing.rs`, gives it a *ticket* for the run, and keeps the run until the ticket is answered.
//! The **member's core** ([`Intake`]) takes the run or hands the ticket back, knows what the member
//! has not acknowledged, and says when it is busy. Between them stand a mailbox or a lane, or
//! nothing:
//!
//! ```text
//! owner ──run, ticket──▶ member's core ──run──▶ member
//!   ◀──taken, or back──       │  ◀──────ack──────┘
//!   ◀──busy, in flight, room──┘ (through control, to all owners)
//! ```
//!
//! A ticket has a *generation*: how many times it was given before. An answer of another generation
//! than the present one changes nothing, so that a load ends once however late an old member
//! answers.
//!
//! Everything here is sans-IO and deterministic. A core without groups has empty maps here, and no
//! run comes near them.
//!
//! | file | what |
//! |---|---|
//! | `limits.rs` | bounds and times |
//! | `levels.rs` | which level is in use: down at once, up with hysteresis |
//! | `member.rs` | a member as an owner sees it |
//! | `placing.rs` | which member gets an event |
//! | `waiting.rs` | what a group hands out, and what of it waits |
//! | `group.rs` | one group at one owner |
//! | `ages.rs` | what is not answered, oldest first |
//! | `owner.rs` | the groups of a core as an owner, and what a ticket names |
//! | `intake.rs` | a member at its own core |

mod ages;
mod group;
mod intake;
mod levels;
mod limits;
mod member;
mod owner;
mod placing;
#[cfg(test)]
mod tests;
mod waiting;

pub use intake::{Held, Intake, Whence};
pub use levels::{Rung, Switch, SwitchReason};
pub use limits::GroupLimits;
pub use member::{MemberIndex, MemberState};
pub use owner::{Counts, GROUPS_MAX, GroupPicture, Groups, MEMBER_NUMBERS, Place, Ticket, member_of};
pub use waiting::{Answer, End, Load};
