//! Publishers that did not say in time that they know what is wanted, by the version that asked.

use std::collections::VecDeque;

use millrace_proto::PublisherId;

/// Publishers that are remembered. Subscriptions whose versions are older name none of those that
/// were forgotten.
const UNHEARD_MAX: usize = 64;

/// The last of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unheard(VecDeque<(u64, PublisherId)>);

impl Unheard {
    /// Adds those of a version.
    pub(super) fn add(&mut self, version: u64, publishers: impl IntoIterator<Item = PublisherId>) {
        for publisher in publishers {
            if self.0.len() == UNHEARD_MAX {
                self.0.pop_front();
            }
            self.0.push_back((version, publisher));
        }
    }

    /// Those that a change of this version may be unknown to. Several versions are asked for at
    /// once, so that some may be named that only a later one is unknown to.
    pub(super) fn from(&self, version: u64) -> impl Iterator<Item = PublisherId> {
        self.0.iter().filter(move |(asked, _)| *asked >= version).map(|&(_, publisher)| publisher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_a_version_and_later_ones_are_named_and_the_oldest_forgotten() {
        let mut unheard = Unheard::default();
        unheard.add(3, [PublisherId(1), PublisherId(2)]);
        unheard.add(5, [PublisherId(3)]);
        assert_eq!(unheard.from(4).collect::<Vec<_>>(), [PublisherId(3)]);
        assert_eq!(unheard.from(3).count(), 3);
        unheard.add(6, (10..73).map(PublisherId));
        assert_eq!(unheard.from(0).next(), Some(PublisherId(3)));
    }
}
