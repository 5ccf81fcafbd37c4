//! When a receiver's subscription was effective in the cluster, and for which routers.
//!
//! A receiver learns late that its session is gone, and its router may have known before. So a span
//! ends [`FLIGHT_US`] before the receiver learns so, or when the process of its router was gone,
//! if that is earlier.

use ahash::AHashMap;
use millrace_proto::RouterId;

/// What a receiver heard last may have been on its way for so long.
pub(super) const FLIGHT_US: u64 = 1_000_000;

/// A stretch of time in which the subscription was effective.
#[derive(Debug)]
pub(super) struct Span {
    from_us: u64,
    until_us: Option<u64>,
    left_out: Vec<RouterId>,
    /// Routers that nobody knows may have been left out, too: what enters at one counts once
    /// something that entered there has come.
    is_unknown: bool,
    /// When the first of the events that came was published, by publisher and its session.
    reached: AHashMap<(u16, u16, u16), u64>,
}

/// All spans of one receiver, in order.
#[derive(Debug, Default)]
pub(super) struct Spans {
    spans: Vec<Span>,
    /// The router that it has a session with, and since when.
    attached: Option<(u16, u64)>,
}

impl Spans {
    /// The receiver has a session with a router.
    pub(super) fn attached(&mut self, at_us: u64, router: u16) {
        self.attached = Some((router, at_us));
    }

    /// The router that it has a session with.
    pub(super) fn router(&self) -> Option<u16> {
        self.attached.map(|(router, _)| router)
    }

    /// Its subscription is effective from here on.
    pub(super) fn effective(&mut self, at_us: u64, left_out: Vec<RouterId>, is_unknown: bool) {
        self.lapsed(at_us);
        self.spans.push(Span {
            from_us: at_us,
            until_us: None,
            left_out,
            is_unknown,
            reached: AHashMap::new(),
        });
    }

    /// The receiver learns that its subscription is not effective any more.
    pub(super) fn lapsed(&mut self, at_us: u64) {
        if let Some(span) = self.spans.last_mut() {
            span.until_us.get_or_insert(at_us.saturating_sub(FLIGHT_US).max(span.from_us));
        }
    }

    /// A router's process is gone; whether it was this receiver's.
    pub(super) fn gone(&mut self, at_us: u64, router: u16) -> bool {
        let is_own = self.router() == Some(router);
        if is_own && let Some(span) = self.spans.last_mut() {
            let until_us = span.until_us.map_or(at_us, |until_us| until_us.min(at_us));
            span.until_us = Some(until_us.max(span.from_us));
        }
        is_own
    }

    /// An event came that was published in a session of a publisher.
    pub(super) fn came(&mut self, session: (u16, u16, u16), published_us: u64) {
        if let Some(span) = self.spans.last_mut()
            && span.is_unknown
            && span.until_us.is_none()
        {
            let first = span.reached.entry(session).or_insert(published_us);
            *first = published_us.min(*first);
        }
    }

    /// The span that holds all of a stretch of time.
    pub(super) fn over(&self, from_us: u64, until_us: u64) -> Option<&Span> {
        let at = self.spans.partition_point(|span| span.from_us <= from_us);
        let span = &self.spans[at.checked_sub(1)?];
        span.until_us.is_none_or(|end_us| until_us <= end_us).then_some(span)
    }
}

impl Span {
    /// Whether it was effective at a router for what was published at `published_us`. `router_of`
    /// says with which router a publisher's session was.
    pub(super) fn includes(
        &self,
        router: RouterId,
        published_us: u64,
        router_of: impl Fn((u16, u16, u16)) -> Option<RouterId>,
    ) -> bool {
        let has_reached = || {
            let mut reached = self.reached.iter();
            reached.any(|(&session, &from_us)| from_us <= published_us && router_of(session) == Some(router))
        };
        !self.left_out.contains(&router) && (!self.is_unknown || has_reached())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_span_ends_before_the_receiver_learns_so_or_with_its_router() {
        let mut spans = Spans::default();
        spans.attached(0, 1);
        spans.effective(SECOND, Vec::new(), false);
        assert!(spans.over(0, 2 * SECOND).is_none(), "published before");
        assert!(spans.over(SECOND, 100 * SECOND).is_some());
        assert!(!spans.gone(5 * SECOND, 0), "another router");
        spans.lapsed(8 * SECOND);
        assert!(
            spans.over(2 * SECOND, 7 * SECOND).is_some() && spans.over(2 * SECOND, 7 * SECOND + 1).is_none()
        );

        spans.effective(10 * SECOND, Vec::new(), false);
        assert!(spans.gone(12 * SECOND, 1));
        spans.lapsed(13 * SECOND + SECOND / 2);
        assert!(spans.over(10 * SECOND, 12 * SECOND).is_some());
        assert!(spans.over(10 * SECOND, 12 * SECOND + 1).is_none());
        spans.effective(14 * SECOND, Vec::new(), false);
        assert!(spans.over(12 * SECOND, 15 * SECOND).is_none(), "in two sessions");
    }

    #[test]
    fn routers_that_were_left_out_do_not_count_nor_unknown_ones_before_something_came() {
        let (here, there) = (RouterId(1), RouterId(2));
        let mut spans = Spans::default();
        spans.effective(0, vec![there], true);
        spans.came((7, 0, 1), 50);
        let span = spans.over(10, 60).unwrap();
        let router_of = |session| (session == (7, 0, 1)).then_some(here);
        assert!(span.includes(here, 50, router_of) && !span.includes(here, 49, router_of));
        assert!(!span.includes(there, 50, |_| Some(there)));
    }
}
