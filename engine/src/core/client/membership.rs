//! Receivers that are members of groups: opened, acknowledging, busy, and alive or not.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::control::{Ack, AckKind, Member, OpenReceiver, Ping, RefusedReason};
use millrace_proto::limits::{GROUP_LEVEL_MAX, NAME_BYTES_MAX};
use millrace_proto::selector::Membership;

use super::session::ClientSession;
use crate::core::slot::ReceiverSlot;
use crate::core::turn::Turn;
use crate::groups::{Answer, GROUPS_MAX, Intake};

/// Clients with members of groups are asked so often whether they are there.
const PING: Duration = Duration::from_millis(500);
/// A client that was silent for this long takes no events of groups, and what it has goes to
/// others: three pings.
const SILENCE: Duration = Duration::from_millis(1500);
/// Events that a member may have without acknowledging them, at most: as many as a publisher may
/// have without an outcome.
const INFLIGHT_MAX: u64 = 65_536;

impl ClientSession {
    /// Why a receiver cannot be a member.
    pub(super) fn objection_to_member(
        &self,
        turn: &Turn<'_>,
        open: &OpenReceiver,
    ) -> Option<(RefusedReason, String)> {
        if open.group.is_empty() {
            return None;
        }
        if !self.asked.groups {
            let message = "a member of a group needs the features confirms and groups: update the client";
            Some((RefusedReason::Unsupported, message.to_owned()))
        } else if open.group.len() > NAME_BYTES_MAX {
            let message = format!("the name of a group has at most {NAME_BYTES_MAX} bytes");
            Some((RefusedReason::Limit, message))
        } else if open.level > GROUP_LEVEL_MAX {
            let message = format!("levels of a group are 1 to {GROUP_LEVEL_MAX}, not {}", open.level);
            Some((RefusedReason::Limit, message))
        } else if !turn.path.groups.has_room(&open.group) {
            let message = format!("a cluster has at most {GROUPS_MAX} groups: use one of them");
            Some((RefusedReason::Limit, message))
        } else {
            None
        }
    }

    /// Makes the receiver that was opened a member, if that was asked for. False when the router
    /// has no number for it.
    pub(super) fn begin_membership(
        &self,
        turn: &mut Turn<'_>,
        open: &OpenReceiver,
    ) -> Result<Option<Box<Intake>>, ()> {
        if open.group.is_empty() {
            return Ok(None);
        }
        let member = turn.path.clients.members.next_number().ok_or(())?;
        let max_inflight = match open.max_inflight {
            0 => turn.config.limits.kept.groups.max_inflight,
            wished => wished.min(INFLIGHT_MAX),
        };
        let membership = Membership {
            group: open.group.as_str().into(),
            member,
            level: u8::try_from(open.level.max(1)).unwrap_or(1),
            exclusive: open.exclusive,
            max_inflight,
        };
        let mut intake = Intake::new(Arc::new(membership));
        intake.set_silent(turn.standing.draining.is_some());
        Ok(Some(Box::new(intake)))
    }

    /// A member's application answers for tickets.
    pub(super) fn answer_tickets(&self, turn: &mut Turn<'_>, slot: ReceiverSlot, ack: &Ack) {
        let path = &mut *turn.path;
        let answer = if ack.kind == AckKind::Taken { Answer::Taken } else { Answer::MaybeSeen };
        for ticket in &ack.tickets {
            let intake = path.receivers.get_mut(slot).and_then(|receiver| receiver.member.as_mut());
            match intake.and_then(|intake| intake.answered(ticket.ticket, ticket.generation)) {
                Some(held) => path.answer_back(held.whence, held.ticket, held.generation, answer),
                None => path.metrics.stale_acks += 1,
            }
        }
        path.report_member(turn.now, slot);
    }

    /// A member's application says whether it is busy.
    pub(super) fn member_is_busy(&self, turn: &mut Turn<'_>, member: &Member) {
        let Some(&slot) = self.receivers.get(&member.receiver) else { return };
        let intake = turn.path.receivers.get_mut(slot).and_then(|receiver| receiver.member.as_mut());
        if let Some(intake) = intake {
            intake.set_told_busy(member.busy);
            turn.path.report_member(turn.now, slot);
        }
    }

    /// Asks whether the client is there. While it is not, others take its members' work, nothing is
    /// addressed to its named receivers, and its publishers hold no set.
    pub(in crate::core) fn tend_members(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let is_silent = now.since(self.liveness.heard) >= SILENCE;
        if now.since(self.liveness.pinged) >= PING {
            self.liveness.pinged = now;
            Ping { nonce: now.0 & millrace_proto::varint::MAX }.encode(&mut self.control.out);
            self.mark(turn);
        }
        self.tend_sets(turn, is_silent);
        let takes_none = is_silent || turn.standing.draining.is_some();
        for &slot in self.receivers.values() {
            let Some(receiver) = turn.path.receivers.get_mut(slot) else { continue };
            if let Some(claim) = &receiver.address.name {
                turn.path.clients.names.set_silent(claim, is_silent);
            }
            let Some(intake) = receiver.member.as_mut() else { continue };
            intake.set_silent(takes_none);
            if is_silent {
                turn.path.hand_back_all(slot);
            }
            turn.path.report_member(now, slot);
        }
    }
}
