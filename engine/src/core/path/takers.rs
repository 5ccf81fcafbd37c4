//! Whether anybody wants the events of a tag set: what a core asks before it tells a publisher that
//! nobody does.

use millrace_proto::rule::Candidates;

use super::reader::KnownTags;
use super::state::Path;

impl Path {
    /// Whether anything takes events of these tags: a receiver of this core, a core or peer of the
    /// directory, a member of a group, a link to another cluster; history, which keeps all; or a
    /// rule, because nobody knows who wants what it adds before it has. The directory of each core
    /// has the interest of the whole cluster, so that the core that reads a publisher can say it,
    /// and need not ask the tag set's owner.
    pub(in crate::core) fn is_wanted(&mut self, tags: &mut KnownTags) -> bool {
        let ruler = &self.positions.ruling.ruler;
        if self.positions.ring.is_on()
            || (ruler.is_on() && ruler.candidates(tags.tags()) != Candidates::default())
        {
            return true;
        }
        let tag = self.intern(tags);
        let Self { routes, directory, local, .. } = self;
        let route = routes.resolve(tag, directory, local);
        route.is_none_or(|route| !route.takers().is_empty() || !route.local().is_empty())
    }

    /// The states of both indexes.
    pub(in crate::core) fn index_versions(&self) -> (u64, u64) {
        (self.directory.version(), self.local.version())
    }
}
