//! Routes: for each tag set that a core has met, where its events go.
//!
//! A [`RouteCache`] interns tag sets: a [`TagId`] names one for as long as it stays, and reaches
//! its entry without hashing or comparing anything. An entry holds the canonical tags, the
//! locations (from the directory) and the local targets (from the core's own index), and the
//! versions at which these were right. [`RouteCache::resolve`] makes them right again, at
//! the cost of what changed for this tag set; see [`matching`](crate::matching) for how.
//!
//! Two cache lines answer most lookups, also most of those after a change elsewhere:
//!
//! ```text
//! line 1   generation, heat, counts | version: directory, local | marks of up to 10 tags
//! line 2   up to 4 takers | up to 4 local targets | the number on a stream
//! far      hash, canonical tags | counts per target | longer lists
//! ```
//!
//! Entries and bytes are bounded. What is met once does not push out what is met often (see
//! `eviction`). An id whose entry went is refused, never taken for another tag set.

mod cache;
mod entry;
mod eviction;
mod table;
#[cfg(test)]
mod tests;

pub use cache::{Resolved, RouteCache, RouteCacheLimits, RouteCacheMetrics};
pub use entry::TagId;
