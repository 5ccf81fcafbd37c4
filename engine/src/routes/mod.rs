//! Routes: for each tag set that a core has met, where its events go.
//!
//! A [`RouteCache`] interns tag sets: a [`TagId`] names one while it is cached, and leads to its
//! entry without hashing or comparing anything. An entry holds the canonical tags, the locations
//! (from the directory), the local targets (from the core's own index), and the versions of both
//! indexes at which these were valid. [`RouteCache::resolve`] makes an entry valid again, at the
//! cost of what changed for this tag set; [`matching`](crate::matching) says how.
//!
//! Two cache lines answer most lookups, even after changes elsewhere:
//!
//! ```text
//! line 1   generation, heat, counts | version: directory, local | marks of up to 10 tags
//! line 2   up to 4 takers | up to 4 local targets | the number on a stream
//! far      hash, canonical tags | counts per target | longer lists
//! ```
//!
//! Entries and bytes are bounded. A tag set that is met once does not evict one that is met often
//! (see `eviction`). The cache refuses an id whose entry was evicted, and never takes it for
//! another tag set.

mod cache;
mod entry;
mod eviction;
mod table;
#[cfg(test)]
mod tests;

pub use cache::{Resolved, RouteCache, RouteCacheLimits, RouteCacheMetrics};
pub use entry::TagId;
