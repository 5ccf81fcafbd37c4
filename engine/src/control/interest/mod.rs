//! Interest as routers tell it to each other: numbered entries, versions, and a digest that both
//! sides can compute.

mod advertised;
mod digest;
mod own;

pub(super) use advertised::{Advertised, Step};
pub(super) use own::{OwnInterest, without_literals};
