//! Notices that the router is gone.
//!
//! The session decides by its own silence limit and not by QUIC's idle timeout, because the limit
//! depends on what the session waits for. While it hears nothing, it sends a ping every third of
//! the limit; when it has asked and heard nothing for the whole limit, the connection is dead. A
//! pong, any other control frame and bytes of a delivery stream all count as heard.
//!
//! There are two limits. An *attentive* session has receivers, or its publisher waits for credit or
//! for an answer that is due: it uses the short limit, 1.5 s by default. An idle session uses the
//! long one, 30 s, because 100,000 emitters of an event now and then should cost few packets.
//! Time in which this side itself was not there does not count: a process that is busy with
//! thousands of connections, or was stopped, has not read what has come meanwhile. It shows by
//! timeouts that are handled late.
//!
//! Events on their way alone make no session attentive, because the router may take its time to say
//! that it has them. A session that turns attentive begins a new wait, because the router was
//! allowed to be silent before.

use crate::time::{MILLISECOND_NS, SECOND_NS, Time};

/// The limits of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivenessConfig {
    /// Silence after which an attentive session is dead. Default 1.5 s; at least 5 round trips.
    pub silence_ns: u64,
    /// Silence after which an idle session is dead. Default 30 s. `u64::MAX` leaves idle sessions
    /// to the idle timeout and the keep-alive of QUIC, because a ping of QUIC costs one packet each
    /// way and one on the control stream an ACK more.
    pub idle_silence_ns: u64,
    /// How long the router may take to answer the Hello. Default 5 s.
    pub welcome_ns: u64,
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self { silence_ns: 1500 * MILLISECOND_NS, idle_silence_ns: 30 * SECOND_NS, welcome_ns: 5 * SECOND_NS }
    }
}

/// What the session is to do when a timeout has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Send a ping; it counts as sent.
    Ping,
    /// Close the connection, because the router is dead.
    Dead {
        /// How long it was silent.
        silent_ns: u64,
    },
}

/// One connection's liveness.
#[derive(Debug)]
pub(super) struct Liveness {
    config: LivenessConfig,
    state: State,
    attentive: bool,
    /// Silence after which the router takes this side for dead, from its Welcome; `u64::MAX` if it
    /// did not say.
    own_silence_ns: u64,
    /// When the present wait began: when something was heard, or when the session turned attentive.
    waiting_since: Time,
    /// How much of the present wait this side has slept through.
    slept_ns: u64,
    last_heard: Time,
    last_ping: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Open,
    Dead,
}

impl Liveness {
    pub(super) fn new(config: LivenessConfig, now: Time) -> Self {
        Self {
            config,
            state: State::Greeting,
            attentive: false,
            own_silence_ns: u64::MAX,
            waiting_since: now,
            slept_ns: 0,
            last_heard: now,
            last_ping: None,
        }
    }

    /// Notes the router's Welcome; the router takes this side for dead after `silence_ns` of
    /// silence (0: it did not say).
    pub(super) fn opened(&mut self, now: Time, silence_ns: u64) {
        self.state = State::Open;
        self.own_silence_ns = if silence_ns == 0 { u64::MAX } else { silence_ns };
        self.heard(now);
    }

    #[inline]
    pub(super) fn heard(&mut self, now: Time) {
        self.last_heard = now;
        self.begin_wait(now);
    }

    #[inline]
    fn begin_wait(&mut self, now: Time) {
        (self.waiting_since, self.slept_ns) = (now, 0);
        self.last_ping = None;
    }

    pub(super) fn set_attentive(&mut self, now: Time, attentive: bool) {
        if attentive && !self.attentive {
            self.begin_wait(now);
        }
        self.attentive = attentive;
    }

    fn limit_ns(&self) -> u64 {
        match self.state {
            State::Greeting => self.config.welcome_ns,
            _ if self.attentive => self.config.silence_ns,
            _ => self.config.idle_silence_ns,
        }
    }

    fn interval_ns(&self) -> u64 {
        (self.limit_ns() / 3).min(self.own_silence_ns / 3).max(1)
    }

    fn dead_at(&self) -> Time {
        self.waiting_since.after(self.limit_ns()).after(self.slept_ns)
    }

    fn next_ping(&self) -> Time {
        self.last_ping.unwrap_or(self.waiting_since).after(self.interval_ns())
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let dead_at = self.dead_at();
        match self.state {
            State::Open if self.limit_ns() == u64::MAX => None,
            State::Greeting => Some(dead_at),
            State::Open => Some(self.next_ping().min(dead_at)),
            State::Dead => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) -> Due {
        let asked = self.state == State::Greeting || self.last_ping.is_some();
        let interval_ns = self.interval_ns();
        let late_ns = self.poll_timeout().map_or(0, |due| now.nanos_since(due));
        let has_slept = self.state == State::Open && late_ns >= interval_ns;
        if self.state == State::Dead {
            Due::Nothing
        } else if now >= self.dead_at() && asked && !has_slept {
            self.state = State::Dead;
            Due::Dead { silent_ns: now.nanos_since(self.last_heard) }
        } else if self.state == State::Open && self.limit_ns() < u64::MAX && now >= self.next_ping() {
            self.slept_ns = self.slept_ns.saturating_add(late_ns);
            if now >= self.dead_at() {
                // It asks before it judges.
                self.slept_ns = self.slept_ns.saturating_add(interval_ns);
            }
            self.last_ping = Some(now);
            Due::Ping
        } else {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = MILLISECOND_NS;

    fn open(attentive: bool) -> Liveness {
        let mut liveness = Liveness::new(LivenessConfig::default(), Time::ZERO);
        liveness.opened(Time::ZERO, 0);
        liveness.set_attentive(Time::ZERO, attentive);
        liveness
    }

    #[test]
    fn a_silent_router_is_pinged_then_dead_after_the_limit() {
        let mut liveness = open(true);
        let mut pings = 0;
        loop {
            let now = liveness.poll_timeout().unwrap();
            match liveness.handle_timeout(now) {
                Due::Ping => pings += 1,
                Due::Dead { silent_ns } => {
                    assert_eq!((silent_ns, now), (1500 * MS, Time::from_nanos(1500 * MS)));
                    break;
                }
                Due::Nothing => panic!("a timeout does something"),
            }
        }
        assert_eq!(pings, 2);
        assert_eq!(liveness.poll_timeout(), None);
    }

    #[test]
    fn an_answer_starts_the_wait_anew() {
        let mut liveness = open(true);
        for round in 1..20u64 {
            let now = Time::from_nanos(round * 500 * MS);
            assert_eq!(liveness.handle_timeout(now), Due::Ping);
            liveness.heard(now);
        }
    }

    #[test]
    fn silence_of_an_idle_session_is_not_held_against_the_router_when_it_turns_attentive() {
        let mut liveness = open(false);
        let now = Time::from_nanos(9_000 * MS);
        assert_eq!(liveness.handle_timeout(now), Due::Nothing);
        liveness.set_attentive(now, true);
        assert_eq!(liveness.handle_timeout(now), Due::Nothing);
        assert_eq!(liveness.handle_timeout(now.after(500 * MS)), Due::Ping);
        assert_eq!(liveness.handle_timeout(now.after(1000 * MS)), Due::Ping);
        assert!(matches!(liveness.handle_timeout(now.after(1500 * MS)), Due::Dead { .. }));
    }

    #[test]
    fn a_client_that_slept_asks_before_it_judges() {
        let mut liveness = open(true);
        assert_eq!(liveness.handle_timeout(Time::from_nanos(60_000 * MS)), Due::Ping);
        assert_eq!(liveness.handle_timeout(Time::from_nanos(60_100 * MS)), Due::Nothing);
        assert_eq!(liveness.handle_timeout(Time::from_nanos(60_500 * MS)), Due::Ping);
        assert!(matches!(liveness.handle_timeout(Time::from_nanos(61_000 * MS)), Due::Dead { .. }));
    }

    #[test]
    fn a_busy_client_gives_the_router_the_time_that_it_was_late_itself() {
        let mut liveness = open(true);
        let at = |ms: u64| Time::from_nanos(ms * MS);
        // Due at 500, 1800 and 2300.
        assert_eq!(liveness.handle_timeout(at(1_300)), Due::Ping);
        assert_eq!(liveness.handle_timeout(at(1_800)), Due::Ping);
        assert_eq!(liveness.handle_timeout(at(2_200)), Due::Nothing);
        assert_eq!(liveness.poll_timeout(), Some(at(2_300)));
        // The answer may have come while nobody read.
        assert_eq!(liveness.handle_timeout(at(4_000)), Due::Ping);
        assert_eq!(liveness.handle_timeout(at(4_499)), Due::Nothing);
        assert!(matches!(liveness.handle_timeout(at(4_500)), Due::Dead { .. }));
    }

    #[test]
    fn an_idle_session_that_is_left_to_quic_is_silent() {
        let config = LivenessConfig { idle_silence_ns: u64::MAX, ..LivenessConfig::default() };
        let mut liveness = Liveness::new(config, Time::ZERO);
        assert!(liveness.poll_timeout().is_some(), "the greeting has its limit");
        liveness.opened(Time::ZERO, 30_000 * MS);
        assert_eq!(liveness.poll_timeout(), None);
        assert_eq!(liveness.handle_timeout(Time::from_nanos(60_000 * MS)), Due::Nothing);
        liveness.set_attentive(Time::ZERO, true);
        assert_eq!(liveness.poll_timeout(), Some(Time::from_nanos(500 * MS)));
    }

    #[test]
    fn pings_keep_this_side_alive_for_a_router_with_a_shorter_limit() {
        let mut liveness = Liveness::new(LivenessConfig::default(), Time::ZERO);
        liveness.opened(Time::ZERO, 3_000 * MS);
        assert_eq!(liveness.poll_timeout(), Some(Time::from_nanos(1_000 * MS)));
    }
}
