//! The process of a publishing client: it ends in the middle of whatever it does, and begins again.

use super::state::{Client, Role};
use super::surroundings::Surroundings;

/// Changes of its disk after which a process that is killed has ended, at most.
const CHANGES_MAX: u64 = 24;

impl Client {
    /// The process is killed: within one of the next changes of its disk, or at once when it has no
    /// disk.
    pub fn kill(&mut self, around: &mut Surroundings<'_>) {
        let changes = rand::RngExt::random_range(around.rng, 1..=CHANGES_MAX);
        let Role::Publisher(publisher) = &mut self.role else { return };
        if publisher.end_after(changes) {
            self.die(around);
        }
    }

    /// A process begins again; one that has not met its end meets it now. Its host has lost power
    /// in between, or has not.
    pub fn restart(&mut self, power_lost: bool, around: &mut Surroundings<'_>) {
        self.die(around);
        if let Role::Publisher(publisher) = &mut self.role {
            publisher.begin(power_lost, around.record);
            publisher.begin_source(around.queue.now());
        }
        self.dial(around);
    }

    /// Whether the process has just ended: then it is gone, and has done nothing since.
    pub(super) fn ends(&mut self, around: &mut Surroundings<'_>) -> bool {
        let has_ended = matches!(&self.role, Role::Publisher(publisher) if publisher.has_ended());
        if has_ended {
            self.die(around);
        }
        has_ended
    }

    /// The process is gone. Nobody is told: its connections fall silent.
    fn die(&mut self, around: &mut Surroundings<'_>) {
        let links = self.dialling.drain(..).chain(self.link.take()).chain(self.next.take());
        for link in links {
            around.network.abandon(around.queue, link.connection.id());
        }
        (self.attachment, self.leaving, self.timer) = (None, None, None);
        if let Role::Publisher(publisher) = &mut self.role {
            publisher.die(around.record);
        }
    }
}
