//! The standby set of a run: its members as processes, whose holder is killed.

use std::net::SocketAddr;
use std::path::Path;

use super::settings::{NUMBERS_PER_S, PUBLISHERS_OF_SET};
use crate::clock::Clock;
use crate::features::standby::{Members, MembersPlan};

/// Members are told to end so far ahead, so that all hear it before it is due.
const STOP_AHEAD: u64 = NUMBERS_PER_S / 2;

/// The set.
#[derive(Debug)]
pub(super) struct Set {
    members: Members,
    clock: Clock,
    /// The generation of each holder that was seen.
    generations: Vec<u64>,
}

impl Set {
    /// Starts its members.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn start(
        fronts: &[SocketAddr],
        ca: &Path,
        folder: &Path,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let plan = MembersPlan {
            routers: vec![fronts.to_vec(); PUBLISHERS_OF_SET],
            rate: NUMBERS_PER_S,
            ca: ca.to_owned(),
            folder: folder.to_owned(),
        };
        let mut members = Members::new(plan, clock.epoch_us());
        for at in 0..PUBLISHERS_OF_SET {
            members.start(at)?;
        }
        Ok(Self { members, clock, generations: Vec::new() })
    }

    /// Takes what members have said.
    pub(super) fn listen(&mut self) {
        self.members.listen();
        if let Some((_, generation)) = self.members.holder()
            && self.generations.last().is_none_or(|&last| generation > last)
        {
            self.generations.push(generation);
        }
    }

    /// Kills the holder and starts it again. False when nobody holds the set, or nobody waits: to
    /// be tried again.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn kill_holder(&mut self) -> std::io::Result<bool> {
        let Some((holder, _)) = self.members.holder().filter(|_| self.members.all_stand()) else {
            return Ok(false);
        };
        self.members.kill(holder);
        self.members.start(holder)?;
        Ok(true)
    }

    /// Tells all members to end; the last number that is published.
    pub(super) fn finish(&mut self) -> u64 {
        let due = self.clock.now_us() * NUMBERS_PER_S / 1_000_000;
        self.members.stop(due + STOP_AHEAD);
        due + STOP_AHEAD
    }

    /// How often another generation began behind the first.
    pub(super) fn takeovers(&self) -> u64 {
        self.generations.len().saturating_sub(1) as u64
    }

    /// What members complained of.
    pub(super) fn complaints(self) -> Vec<String> {
        self.members.complaints
    }
}
