//! Publishers that are members of sets: they join, are told what they are, and leave.

use millrace_proto::control::{Refused, RefusedReason, Standby};
use millrace_proto::limits::RANK_MAX;
use millrace_proto::selector::Claim;

use super::session::{ClientSession, Membership};
use crate::core::turn::Turn;
use crate::message::ToControl;
use crate::rights::Scarce;
use crate::standby::{MemberWord, Refusal, SetWord, Why};

/// Publishers of one client that are members of sets: each costs a look at every tick.
const SETS_PER_CLIENT_MAX: usize = 256;

impl ClientSession {
    /// A publisher joins a set, or leaves it.
    pub(super) fn standby(&mut self, turn: &mut Turn<'_>, standby: &Standby) {
        let (conn, number) = (self.conn, standby.publisher);
        if standby.leave {
            if self.forget_set(turn, number) {
                turn.path.tell_counts(turn.mail);
                turn.mail.tell(ToControl::Sets(SetWord::Leave { conn, number, why: Why::Left }));
            }
            return;
        }
        if let Some((reason, message)) = self.objection_to_standby(standby) {
            let refused = Refused { reason, publisher: Some(number), message, ..Refused::default() };
            return self.refuse(turn, &refused);
        }
        let proof = self.who.proof.as_ref().or_else(|| self.publish.as_ref().map(|publish| publish.proof()));
        let Some(publisher) = proof.and_then(|proof| proof.own(standby.index)) else {
            let message = "a publisher that joins a set proves its id: show a secret in Hello".to_owned();
            let reason = RefusedReason::Publisher;
            let refused = Refused { reason, publisher: Some(number), message, ..Refused::default() };
            return self.refuse(turn, &refused);
        };
        if let Err(message) = self.enter_set(turn, number, &standby.set) {
            let reason = RefusedReason::Limit;
            let refused = Refused { reason, publisher: Some(number), message, ..Refused::default() };
            return self.refuse(turn, &refused);
        }
        if !self.is_member(number) {
            let set = standby.set.as_str().into();
            self.who.sets.push(Membership { number, set, is_silent: false });
            turn.path.clients.members.watch(conn);
            turn.path.clients.members.arm(turn.now, turn.timers);
        }
        turn.mail.tell(ToControl::Sets(SetWord::Join {
            conn,
            number,
            publisher,
            set: standby.set.as_str().into(),
            rank: u8::try_from(standby.rank.max(1)).unwrap_or(u8::MAX),
            preempt: standby.preempt,
            identity: self.who.rights.identity.as_str().into(),
            known: standby.generation,
            is_abreast: standby.abreast,
        }));
    }

    /// Counts the set that a publisher joins in its identity's quota, in place of the one that it
    /// was a member of.
    ///
    /// # Errors
    /// The identity is in as many as it may be: in words.
    fn enter_set(&mut self, turn: &Turn<'_>, number: u64, set: &str) -> Result<(), String> {
        let (conn, accounts) = (self.conn, &turn.path.clients.accounts);
        let before = self.who.sets.iter_mut().find(|membership| membership.number == number);
        if before.as_ref().is_some_and(|membership| &*membership.set == set) {
            return Ok(());
        }
        accounts.take_scarce(conn, Scarce::Set, set)?;
        if let Some(membership) = before {
            let old = std::mem::replace(&mut membership.set, set.into());
            accounts.give_scarce(conn, Scarce::Set, &old);
        }
        Ok(())
    }

    fn objection_to_standby(&self, standby: &Standby) -> Option<(RefusedReason, String)> {
        if !self.asked.standby {
            let message = "a member of a set needs the feature standby: update the client, or the router";
            Some((RefusedReason::Unsupported, message.to_owned()))
        } else if let Err(error) = Claim::check(&standby.set) {
            Some((RefusedReason::Limit, format!("the set: {error}")))
        } else if standby.rank > RANK_MAX {
            let message = format!("ranks of a set's members are 1 to {RANK_MAX}, not {}", standby.rank);
            Some((RefusedReason::Limit, message))
        } else if self.who.sets.len() == SETS_PER_CLIENT_MAX && !self.is_member(standby.publisher) {
            let message = format!("a client has at most {SETS_PER_CLIENT_MAX} publishers in sets");
            Some((RefusedReason::Limit, message))
        } else {
            None
        }
    }

    /// Control says what a publisher of this client is in its set, or that it cannot join.
    pub(in crate::core) fn tell_member(&mut self, turn: &mut Turn<'_>, word: MemberWord) {
        match word {
            MemberWord::State(state) => {
                state.encode(&mut self.control.out);
                self.mark(turn);
            }
            MemberWord::Refused { number, refusal } => {
                self.forget_set(turn, number);
                let reason = match refusal {
                    Refusal::Identity => RefusedReason::Name,
                    Refusal::Full => RefusedReason::Limit,
                };
                let message = refusal.to_string();
                let refused = Refused { reason, publisher: Some(number), message, ..Refused::default() };
                self.refuse(turn, &refused);
            }
        }
    }

    /// Tells control when the client has fallen silent, or is heard again.
    pub(super) fn tend_sets(&mut self, turn: &mut Turn<'_>, is_silent: bool) {
        let conn = self.conn;
        for Membership { number, is_silent: told, .. } in &mut self.who.sets {
            if std::mem::replace(told, is_silent) != is_silent {
                turn.path.tell_counts(turn.mail);
                turn.mail.tell(ToControl::Sets(SetWord::Silent { conn, number: *number, is_silent }));
            }
        }
    }

    /// The connection is gone: its publishers leave their sets, in order or because they died.
    pub(super) fn leave_sets(&mut self, turn: &mut Turn<'_>, is_in_order: bool) {
        let conn = self.conn;
        if !self.who.sets.is_empty() {
            turn.path.tell_counts(turn.mail);
        }
        for Membership { number, .. } in std::mem::take(&mut self.who.sets) {
            turn.path.clients.members.unwatch(conn);
            let why = if is_in_order { Why::Left } else { Why::Died };
            turn.mail.tell(ToControl::Sets(SetWord::Leave { conn, number, why }));
        }
    }

    fn is_member(&self, number: u64) -> bool {
        self.who.sets.iter().any(|set| set.number == number)
    }

    /// Says whether the publisher was a member.
    fn forget_set(&mut self, turn: &mut Turn<'_>, number: u64) -> bool {
        let Some(at) = self.who.sets.iter().position(|set| set.number == number) else { return false };
        let left = self.who.sets.swap_remove(at);
        turn.path.clients.accounts.give_scarce(self.conn, Scarce::Set, &left.set);
        turn.path.clients.members.unwatch(self.conn);
        true
    }
}
