//! The clusters that a run has crossed: the guard against loops.
//!
//! ```text
//! published in A      entered B by A's link     entered C by B's link
//! path: (empty)       path: A                   path: A B          never back to A or B
//! ```
//!
//! Each cluster appends its own id when it forwards a run, sends it to no cluster that is in the
//! path, and takes none whose path has its own id. So a run takes simple paths only, and there is
//! an end to them.

use millrace_proto::data::{HopHeader, optional};
use millrace_proto::limits::CLUSTER_PATH_MAX;
use millrace_proto::{ClusterId, DecodeError};

/// The clusters that a run has crossed, the first one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ClusterPath {
    ids: [ClusterId; CLUSTER_PATH_MAX],
    len: u8,
}

impl ClusterPath {
    /// Of a run that was published in this cluster.
    pub const EMPTY: Self = Self { ids: [ClusterId(0); CLUSTER_PATH_MAX], len: 0 };

    /// The path in a run's header; empty where it has none.
    ///
    /// # Errors
    /// [`DecodeError`] when it is malformed or too long.
    pub fn read(hop: &HopHeader<'_>) -> Result<Self, DecodeError> {
        let mut path = Self::EMPTY;
        for id in hop.cluster_path()? {
            path = path.with(id).ok_or(DecodeError::Limit { what: "cluster path" })?;
        }
        Ok(path)
    }

    /// This path and one cluster more; none when it has as many as it may.
    #[must_use]
    pub fn with(mut self, id: ClusterId) -> Option<Self> {
        *self.ids.get_mut(usize::from(self.len))? = id;
        self.len += 1;
        Some(self)
    }

    /// The clusters.
    #[must_use]
    pub fn ids(&self) -> &[ClusterId] {
        &self.ids[..usize::from(self.len)]
    }

    /// Whether a run has crossed a cluster.
    #[must_use]
    pub fn contains(&self, id: ClusterId) -> bool {
        self.ids().contains(&id)
    }

    /// Whether a run with this path may enter the cluster `own` from `from`: the sender is the last
    /// one in it, and this cluster is not.
    #[must_use]
    pub fn may_enter(&self, own: ClusterId, from: ClusterId) -> bool {
        self.ids().last() == Some(&from) && !self.contains(own)
    }

    /// Appends it as an optional field of a hop header; nothing when it is empty.
    pub fn put(&self, out: &mut Vec<u8>) {
        if self.len > 0 {
            optional::put_cluster_path(out, self.ids().iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(ids: &[u64]) -> ClusterPath {
        ids.iter().fold(ClusterPath::EMPTY, |path, &id| path.with(ClusterId(id)).unwrap())
    }

    #[test]
    fn a_path_has_an_end_and_no_cluster_twice() {
        let full = path(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(full.with(ClusterId(9)), None);
        assert!(full.contains(ClusterId(8)) && !full.contains(ClusterId(9)));
        let (own, from) = (ClusterId(7), ClusterId(2));
        assert!(path(&[1, 2]).may_enter(own, from));
        for wrong in [&[][..], &[2, 1], &[7, 2]] {
            assert!(!path(wrong).may_enter(own, from), "{wrong:?}");
        }
    }

    #[test]
    fn a_path_reads_back_from_a_header() {
        use millrace_proto::data::{PublisherOnStream, TagsOnStream};
        for path in [path(&[]), path(&[5]), path(&[1, 2, 3, 4, 5, 6, 7, 8])] {
            let mut fields = Vec::new();
            path.put(&mut fields);
            let hop = HopHeader {
                tags: TagsOnStream::Number(0),
                publisher: PublisherOnStream::Number(0),
                flags: 0,
                lane_seq: None,
                fields: &fields,
            };
            assert_eq!(ClusterPath::read(&hop), Ok(path));
        }
    }
}
