//! Requests and replies: everybody who is there is asked, and is heard.
//!
//! - **nobody**: nobody is said to be there only when nobody is.
//! - **count**: a request that is confirmed names as many receivers as have long been there, or
//!   more when others came meanwhile.
//! - **replies**: what who asked is given is a reply to its request, from a responder that had it,
//!   once for each, and no more than the request wants.
//! - **in time**: a reply that was made in time is given, unless others were as many as are wanted,
//!   and one behind the deadline is not.
//! - **gone**: a responder is told that who asked is gone only behind the deadline or the replies
//!   that are wanted, and never that a reply behind the deadline has arrived.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;

/// The name of this checker in findings.
pub const NAME: &str = "requests";

/// How long frames may be under way, at most.
const UNDER_WAY_NS: u64 = 700_000_000;

/// A request of who asks.
pub type Request = (u32, u64);

#[derive(Debug, Clone)]
struct Asked {
    service: usize,
    at_ns: u64,
    deadline_ns: u64,
    /// How many replies it wants; 0: all of them.
    wanted: u64,
    /// Who was there when it was asked.
    present: BTreeSet<u32>,
    /// How many receivers have it, once that is told.
    receivers: Option<u64>,
}

/// What became of a request or a reply, as its publisher was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// So many receivers have it.
    Confirmed(u64),
    /// Nobody is there, or whoever asked is gone.
    Nobody,
    /// Something else.
    Other,
}

/// Who asks, who responds, and what they were given and told.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    /// Since when each responder is there, by service.
    there: BTreeMap<(usize, u32), u64>,
    asked: BTreeMap<Request, Asked>,
    had: BTreeSet<(Request, u32)>,
    /// When each responder replied.
    replied: BTreeMap<(Request, u32), u64>,
    given: BTreeSet<(Request, u32)>,
    /// Responders that have ended.
    ended: BTreeSet<u32>,
    /// Replies that who asked was given.
    pub replies: u64,
}

impl Requests {
    /// A responder's subscription is effective in the cluster.
    pub fn joined(&mut self, service: usize, responder: u32, now_ns: u64) {
        self.there.insert((service, responder), now_ns);
    }

    /// A responder's process has ended.
    pub fn left(&mut self, service: usize, responder: u32) {
        self.there.remove(&(service, responder));
        self.ended.insert(responder);
    }

    /// A request is asked.
    pub fn asked(&mut self, request: Request, service: usize, at_ns: u64, time_ns: u64, wanted: u64) {
        let there = self.there.range((service, 0)..=(service, u32::MAX));
        let present = there.map(|(&(_, responder), _)| responder).collect();
        let deadline_ns = at_ns + time_ns;
        let asked = Asked { service, at_ns, deadline_ns, wanted, present, receivers: None };
        self.asked.insert(request, asked);
    }

    /// A responder has a request.
    pub fn had(&mut self, responder: u32, request: Request, findings: &mut Findings) {
        if !self.asked.contains_key(&request) {
            findings.add(NAME, || format!("responder {responder} has {request:?}: nobody's"));
        }
        self.had.insert((request, responder));
    }

    /// A responder replies.
    pub fn replied(&mut self, responder: u32, request: Request, now_ns: u64) {
        self.replied.insert((request, responder), now_ns);
    }

    /// Who asked is given a reply of a responder.
    pub fn given(&mut self, request: Request, responder: u32, now_ns: u64, findings: &mut Findings) {
        self.replies += 1;
        let mut say =
            |what: &str| findings.add(NAME, || format!("reply of {responder} to {request:?}: {what}"));
        if !self.replied.contains_key(&(request, responder)) {
            say("it made none");
        }
        if !self.given.insert((request, responder)) {
            say("given again");
        }
        let Some(asked) = self.asked.get(&request) else { return };
        if now_ns > asked.deadline_ns + UNDER_WAY_NS {
            say("given behind the deadline");
        }
        if asked.wanted > 0 && self.given_to(request) > asked.wanted {
            say("given behind those that are wanted");
        }
    }

    /// Who asked is told what became of a request.
    pub fn told(&mut self, request: Request, told: Told, findings: &mut Findings) {
        let Some(asked) = self.asked.get_mut(&request) else { return };
        // Who has ended meanwhile need not have it.
        let stay =
            asked.present.iter().filter(|&&responder| self.there.contains_key(&(asked.service, responder)));
        let stay = stay.filter(|&&responder| !self.ended.contains(&responder)).count() as u64;
        match told {
            Told::Nobody | Told::Confirmed(0) if stay > 0 => {
                findings.add(NAME, || format!("{request:?}: nobody is said to be there, of {stay}"));
            }
            Told::Confirmed(receivers) if receivers < stay => {
                findings.add(NAME, || format!("{request:?}: {receivers} receivers, of {stay}"));
            }
            Told::Confirmed(receivers) => asked.receivers = Some(receivers),
            Told::Nobody | Told::Other => {}
        }
    }

    /// A responder is told what became of its reply.
    pub fn reply_told(
        &self,
        responder: u32,
        request: Request,
        told: Told,
        now_ns: u64,
        findings: &mut Findings,
    ) {
        let Some(asked) = self.asked.get(&request) else { return };
        let replied_ns = self.replied.get(&(request, responder)).copied().unwrap_or(0);
        let mut say = |what: &str| findings.add(NAME, || format!("{responder}, of {request:?}: {what}"));
        match told {
            Told::Nobody if now_ns < asked.deadline_ns && !self.has_others(asked, responder, request) => {
                say("told that who asked is gone, before the deadline")
            }
            Told::Confirmed(_) if replied_ns > asked.deadline_ns + UNDER_WAY_NS => {
                say("told that a reply behind the deadline has arrived");
            }
            _ => {}
        }
    }

    /// Whether others have replied as often as is wanted.
    fn has_others(&self, asked: &Asked, responder: u32, request: Request) -> bool {
        let others = self.replied.range(of(request)).filter(|((_, other), _)| *other != responder);
        asked.wanted > 0 && others.count() as u64 >= asked.wanted
    }

    /// How many replies a request was given.
    fn given_to(&self, request: Request) -> u64 {
        self.given.range(of(request)).count() as u64
    }

    /// Nothing is on its way any more.
    pub fn finish(&self, findings: &mut Findings) {
        for (&(request, responder), &replied_ns) in &self.replied {
            let Some(asked) = self.asked.get(&request) else { continue };
            let in_time = replied_ns + UNDER_WAY_NS < asked.deadline_ns;
            let stays = !self.ended.contains(&responder);
            let is_wanted = asked.wanted == 0 || self.given_to(request) < asked.wanted;
            if in_time && stays && is_wanted && !self.given.contains(&(request, responder)) {
                findings.add(NAME, || format!("the reply of {responder} to {request:?} is lost"));
            }
        }
        for (request, asked) in &self.asked {
            let lacks = |&&responder: &&u32| {
                !self.ended.contains(&responder) && !self.had.contains(&(*request, responder))
            };
            if let Some(responder) = asked.present.iter().find(lacks) {
                findings.add(NAME, || {
                    format!("{responder} does not have {request:?}, asked at {} ns", asked.at_ns)
                });
            }
        }
    }
}

/// All that is of one request.
const fn of(request: Request) -> std::ops::RangeInclusive<(Request, u32)> {
    (request, 0)..=(request, u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const REQUEST: Request = (9, 0);

    /// Responder 1 is there when 9 asks, with three seconds to reply.
    fn check(play: impl FnOnce(&mut Requests, &mut Findings)) -> u64 {
        let (mut requests, mut findings) = (Requests::default(), Findings::default());
        requests.joined(0, 1, 0);
        requests.asked(REQUEST, 0, SECOND, 3 * SECOND, 0);
        play(&mut requests, &mut findings);
        requests.finish(&mut findings);
        findings.count
    }

    #[test]
    fn who_is_there_is_asked_and_heard() {
        let reply = |at_ns: u64, given_ns: Option<u64>| {
            move |requests: &mut Requests, findings: &mut Findings| {
                requests.told(REQUEST, Told::Confirmed(1), findings);
                requests.had(1, REQUEST, findings);
                requests.replied(1, REQUEST, at_ns);
                if let Some(at_ns) = given_ns {
                    requests.given(REQUEST, 1, at_ns, findings);
                }
            }
        };
        assert_eq!(check(reply(2 * SECOND, Some(2 * SECOND))), 0);
        assert_eq!(check(reply(2 * SECOND, None)), 1, "lost");
        assert_eq!(check(reply(5 * SECOND, None)), 0, "it was late");
        assert_eq!(check(reply(5 * SECOND, Some(6 * SECOND))), 1, "given behind the deadline");
        assert_eq!(check(|_, _| ()), 1, "the responder does not have it");
        assert_eq!(check(|requests, _| requests.left(0, 1)), 0, "who has ended need not");
        let nobody = |told| {
            move |requests: &mut Requests, findings: &mut Findings| {
                requests.had(1, REQUEST, findings);
                requests.told(REQUEST, told, findings);
            }
        };
        assert_eq!(check(nobody(Told::Nobody)), 1);
        assert_eq!(check(nobody(Told::Confirmed(0))), 1);
        assert_eq!(check(nobody(Told::Confirmed(2))), 0);
        let twice = |requests: &mut Requests, findings: &mut Findings| {
            reply(2 * SECOND, Some(2 * SECOND))(requests, findings);
            requests.given(REQUEST, 1, 2 * SECOND, findings);
            requests.given(REQUEST, 2, 2 * SECOND, findings);
        };
        assert_eq!(check(twice), 2, "again, and from who made none");
        let gone = |at_ns, told| {
            move |requests: &mut Requests, findings: &mut Findings| {
                reply(at_ns, Some(2 * SECOND))(requests, findings);
                requests.reply_told(1, REQUEST, told, at_ns, findings);
            }
        };
        assert_eq!(check(gone(2 * SECOND, Told::Nobody)), 1);
        assert_eq!(check(gone(5 * SECOND, Told::Nobody)), 0);
        assert_eq!(check(gone(5 * SECOND, Told::Confirmed(1))), 1);
    }

    #[test]
    fn a_request_is_given_as_many_replies_as_it_wants() {
        let play = |wanted: u64, given: &'static [u32], told: Told| {
            let (mut requests, mut findings) = (Requests::default(), Findings::default());
            (1..4).for_each(|responder| requests.joined(0, responder, 0));
            requests.asked(REQUEST, 0, SECOND, 9 * SECOND, wanted);
            for responder in 1..4 {
                requests.had(responder, REQUEST, &mut findings);
                requests.replied(responder, REQUEST, 2 * SECOND);
            }
            for &responder in given {
                requests.given(REQUEST, responder, 3 * SECOND, &mut findings);
            }
            requests.reply_told(3, REQUEST, told, 3 * SECOND, &mut findings);
            requests.finish(&mut findings);
            findings.count
        };
        let (nobody, confirmed) = (Told::Nobody, Told::Confirmed(1));
        assert_eq!(play(2, &[1, 2], nobody), 0);
        assert_eq!(play(2, &[1, 3], confirmed), 0, "whichever come first");
        assert_eq!(play(2, &[1, 2, 3], confirmed), 1, "one more than is wanted");
        assert_eq!(play(2, &[1], nobody), 2, "two of the replies might be the second one");
        assert_eq!(play(3, &[1, 2], nobody), 2, "it is wanted, and told that it is not");
        assert_eq!(play(0, &[1, 2, 3], confirmed), 0);
    }
}
