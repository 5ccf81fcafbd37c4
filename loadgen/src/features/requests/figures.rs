//! What was measured.

use millrace_measure::figures::grouped;
use serde::Serialize;

use crate::features::{Figures, Spread};

/// What the preset measured.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct RequestFigures {
    pub outstanding: u32,
    pub requesters: u32,
    pub routers: u16,
    /// Requests that routers said were open when all were asked.
    pub open_at_routers: u64,
    /// Resident memory that routers took for each of the last four fifths of them.
    pub router_bytes_each: f64,
    /// The same of this process, which has asked them and holds them for the responder.
    pub client_bytes_each: f64,
    /// From the first to the last of them, seconds.
    pub asked_in_s: f64,
    /// From the first reply to the last, seconds.
    pub replied_in_s: f64,
    /// Of all requests of the preset.
    pub asked: u64,
    /// With their own reply.
    pub answered: u64,
    /// Without, by the end that they had.
    pub unanswered: u64,
    /// Replies to something else, or second ones.
    pub wrong: u64,
    pub at_a_time: u32,
    /// From a request until its reply is there.
    pub in_turn_us: Spread,
    pub in_turn_per_s: f64,
    /// Those who subscribed and were asked at once, until their reply was there.
    pub fresh_us: Spread,
    /// Of them, those of whom the router said that nobody has the request.
    pub false_no_receiver: u64,
    /// Until a request that nobody has ends.
    pub nobody_us: Spread,
}

impl Figures for RequestFigures {
    const SCHEMA: &'static str = "millrace-loadgen-requests/1";
    const PASSED: &'static str = "every request had its reply, and nobody was overlooked.";

    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "requests",
                format!(
                    "{} at once on {} connections, {} routers",
                    grouped(f64::from(self.outstanding)),
                    self.requesters,
                    self.routers
                ),
            ),
            (
                "memory",
                format!(
                    "{:.0} bytes each at routers, {:.0} in this process",
                    self.router_bytes_each, self.client_bytes_each
                ),
            ),
            ("took", format!("{:.1} s to ask, {:.1} s to reply to all", self.asked_in_s, self.replied_in_s)),
            (
                "in turn",
                format!(
                    "{}; {} at a time, {}/s",
                    self.in_turn_us,
                    self.at_a_time,
                    grouped(self.in_turn_per_s)
                ),
            ),
            ("fresh", format!("{}, asked as soon as subscribed", self.fresh_us)),
            ("nobody", self.nobody_us.to_string()),
            (
                "verified",
                format!(
                    "{} asked, {} answered, {} not, {} wrong replies, {} false \"nobody\"",
                    grouped(self.asked as f64),
                    grouped(self.answered as f64),
                    self.unanswered,
                    self.wrong,
                    self.false_no_receiver
                ),
            ),
        ]
    }
}
