//! Matching: which targets want the events of a tag set.
//!
//! One [`Index`] holds selectors with their targets. It is used twice: as the *directory*
//! (`Index<Taker>`: which cores and peers have subscribers), written by the control thread and read
//! by all cores as immutable snapshots, and as each core's *local* index (`Index<LocalTarget>`:
//! which subscriptions of its own receivers), written in place. A clone is a snapshot: it shares
//! all pages, and a later write copies only the pages it touches.
//!
//! # How a lookup works
//!
//! Each selector is filed under its *access tag*: the equality requirement under which fewest
//! selectors are filed. A tag set can only match selectors that are filed under one of its tags,
//! plus those without any equality, which are on the *scan list*. With
//!
//! ```text
//! s1: host=web-1,severity!=debug      filed under host=web-1
//! s2: cluster=c1,host=web-2           filed under host=web-2 or cluster=c1, whichever is emptier
//! s3: temperature>60                  scan list
//! ```
//!
//! the tag set `{cluster=c1, host=web-1}` meets the groups of its two tags and the scan list. Large
//! groups and the scan list are sieved by one more requirement (see `sieve`); what is left is
//! evaluated in full, so hashes never decide a match.
//!
//! # How a lookup is remembered
//!
//! A [`Contribution`] holds what a lookup found and the version of the index at which that was
//! right. Every change has its own version and is recorded in a log, threaded by region of tag
//! hashes (see `log`). [`Index::refresh`] reads the last change of each tag's region; where nothing
//! is newer, nothing has changed for this tag set. Else it walks the newer changes and evaluates
//! only the selectors that changed under one of its tags. docs/adr/0002-route-cache-validation.md
//! has the reasons.
//!
//! Moving a selector to another access tag is no change: every tag set that it matches has both
//! tags, so a later removal, recorded under the new one, is seen by all who counted it.
//!
//! The module has no clock and no I/O; equal seeds and equal calls give equal results on one
//! machine.

mod bucket;
mod contribution;
mod grams;
mod index;
mod log;
mod nearest;
mod paged;
mod probe;
mod sieve;
mod tag_hash;
mod taker;
mod target;
mod targets;
#[cfg(test)]
mod tests;

pub use contribution::{Contribution, Refresh};
pub use index::Index;
pub use nearest::{Miss, nearest, unmet_by};
pub(crate) use sieve::lookup_weight;
pub use tag_hash::{TagHash, TagHasher, TagMark};
pub use taker::{FilterNumber, Location, Taker};
pub use target::{LocalTarget, Target};
