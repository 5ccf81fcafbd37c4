//! Nothing comes twice: an event with a confirm level is given to a receiver's application once,
//! across all its sessions; what was removed as a duplicate had been given to it before.

use std::collections::BTreeMap;

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "repeats";

/// What receivers' applications were given of events with a confirm level.
#[derive(Debug, Clone, Default)]
pub struct Repeats {
    given: BTreeMap<(u32, u32, u64), Vouched>,
    /// Copies that the client's library has removed.
    pub removed: u64,
    /// Events that were given again.
    pub repeated: u64,
    /// Copies that were given again where nobody could tell: they are marked so, or another copy
    /// came through a router that knows of no levels.
    pub in_doubt: u64,
    /// Events that came without their level.
    pub levelless: u64,
}

/// Whether a client's library vouches for what it gives to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// It comes once: the library has looked.
    Once,
    /// It may have come before, and is marked so.
    Marked,
    /// Its router knows of no levels, so that the library cannot look.
    No,
}

impl Repeats {
    /// An event is given to `owner`'s application.
    pub fn given(&mut self, owner: u32, (emitter, n): (u32, u64), vouched: Vouched, findings: &mut Findings) {
        self.levelless += u64::from(vouched == Vouched::No);
        match (self.given.insert((owner, emitter, n), vouched), vouched) {
            (None, _) => {}
            (Some(_), Vouched::Marked | Vouched::No) | (Some(Vouched::No), Vouched::Once) => {
                self.in_doubt += 1;
            }
            (Some(before), _) => {
                self.repeated += 1;
                findings.add(NAME, || {
                    format!(
                        "receiver {owner} was given event {n} of emitter {emitter} again: {before:?}, {vouched:?}"
                    )
                });
            }
        }
    }

    /// Behind the last event: only old routers forget levels.
    pub fn finish(&self, has_old_routers: bool, findings: &mut Findings) {
        if self.levelless > 0 && !has_old_routers {
            findings.add(NAME, || format!("{} events came without their level", self.levelless));
        }
    }

    /// The library has removed an event as one that `owner`'s application has had.
    pub fn removed(&mut self, owner: u32, emitter: u32, n: u64, findings: &mut Findings) {
        self.removed += 1;
        if !self.given.contains_key(&(owner, emitter, n)) {
            findings.add(NAME, || {
                format!("receiver {owner} never had event {n} of emitter {emitter}, which was removed")
            });
        }
    }
}
