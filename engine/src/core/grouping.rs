//! Where groups meet connections, siblings and control: who their members are, who answers, and
//! what is looked after.

use std::time::Duration;

use millrace_proto::control::{AckKind, OutcomeReason, Ticket};
use millrace_proto::limits::TICKETS_PER_FRAME_MAX;
use millrace_proto::mesh::Tickets;

use super::machine::Core;
use crate::groups::{Answer, GroupPicture};
use crate::matching::Location;
use crate::message::{MemberNews, TicketAnswer, ToControl};
use crate::time::Time;
use crate::transport::Transport;

impl Core {
    /// The groups that this core gives runs to, each with how long ago its level changed.
    pub fn groups(&self) -> impl Iterator<Item = (GroupPicture, Option<Duration>)> {
        let now = self.path.pacing.crowd.now();
        self.path.groups.pictures().map(move |picture| {
            let age = picture.switch.map(|switch| now.since(switch.at));
            (picture, age)
        })
    }

    /// Control says what is new of members.
    pub(super) fn members_changed(&mut self, now: Time, news: Vec<MemberNews>) {
        let own = Location::Core(self.config.core);
        let path = &mut self.path;
        for news in news {
            match news {
                MemberNews::Joined { index, member, location, router } => {
                    if location == own {
                        path.clients.members.set_index(member.member, Some(index));
                    }
                    path.groups.join(now, index, &member, location, router);
                    let here = path.clients.members.slot(member.member).filter(|_| location == own);
                    let intake = here.and_then(|slot| path.receivers.get(slot)?.member.as_ref());
                    if let Some(state) = intake.map(|intake| intake.state()) {
                        path.groups.set_state(now, index, state);
                    }
                }
                MemberNews::Changed { index, state } => {
                    // What this core knows of its own members is newer.
                    if path.groups.location(index).is_some_and(|location| location != own) {
                        path.groups.set_state(now, index, state);
                    }
                }
                MemberNews::Left { index } => {
                    path.clients.members.forget_index(index);
                    path.groups.leave(now, index);
                }
            }
        }
        path.clients.members.arm(now, &mut self.timers);
    }

    /// Ends what a turn has begun with groups: runs are given to members, peers hear what became of
    /// their tickets, and control how members are.
    #[cold]
    pub(super) fn settle_groups(&mut self, now: Time, transport: &mut dyn Transport) {
        self.end_nameless(now, transport);
        self.path.serve_groups();
        for (conn, answers) in self.path.clients.members.take_answers_to_lanes() {
            self.drive_lane(now, transport, conn, |lane, turn| {
                lane.say(turn, |out| frames(&answers).iter().for_each(|frame| frame.encode(out)))
            });
        }
        let news = self.path.clients.members.take_news();
        if !news.is_empty() {
            self.mail.tell(ToControl::Members(news));
        }
        self.path.clients.members.arm(now, &mut self.timers);
    }

    /// Looks after groups and members: who answers, what is due, who is busy no more.
    pub(super) fn tend_groups(&mut self, now: Time, transport: &mut dyn Transport) {
        let is_report = self.path.clients.members.fired();
        for conn in self.path.clients.members.clients() {
            self.drive_client(now, transport, conn, |client, turn| {
                client.tend_members(turn);
                Ok(())
            });
        }
        let limits = self.config.limits.kept.groups;
        let members: Vec<_> = self.path.clients.members.iter().collect();
        for (number, slot) in members {
            let Some(receiver) = self.path.receivers.get_mut(slot) else { continue };
            let (queued, queue_max) = (receiver.queue.bytes(), receiver.queue.bytes_max());
            let Some(intake) = receiver.member.as_mut() else { continue };
            let expired = intake.expire(now, &limits);
            intake.tick(now, &limits, queued, queue_max);
            if is_report {
                self.path.clients.members.note(number, intake.state());
            }
            for held in expired {
                self.path.answer_back(held.whence, held.ticket, held.generation, Answer::MaybeSeen);
            }
            self.path.report_member(now, slot);
        }
        self.path.groups.tick(now);
        let counts = self.path.groups.take_counts();
        let metrics = &mut self.path.metrics;
        metrics.stale_acks += counts.stale_answers;
        metrics.group_redelivered += counts.redelivered;
        metrics.group_switches += counts.switches;
        metrics.group_waiting = counts.waiting;
        metrics.group_held = counts.bytes;
        metrics.group_members = self.path.clients.members.len() as u64;
        if is_report {
            self.path.tell_counts(&mut self.mail);
        }
        let is_counting = self.path.clients.fences.has_counts();
        if self.path.clients.members.are_watched() || is_counting || !self.path.groups.is_empty() {
            self.path.clients.members.arm(now, &mut self.timers);
        }
    }
}

/// What a peer is told of its tickets.
fn frames(answers: &[TicketAnswer]) -> Vec<Tickets> {
    let mut frames: Vec<Tickets> = Vec::new();
    for answer in answers {
        let (kind, reason) = match answer.answer {
            Answer::Taken => (AckKind::Taken, OutcomeReason::default()),
            Answer::NotTaken => (AckKind::Refused, OutcomeReason::Busy),
            Answer::MaybeSeen => (AckKind::Refused, OutcomeReason::Departed),
        };
        let ticket = Ticket { ticket: answer.ticket, generation: answer.generation };
        match frames.last_mut() {
            Some(last)
                if (last.kind, last.reason) == (kind, reason)
                    && last.tickets.len() < TICKETS_PER_FRAME_MAX =>
            {
                last.tickets.push(ticket);
            }
            _ => frames.push(Tickets { kind, tickets: vec![ticket], reason }),
        }
    }
    frames
}
