//! What was measured.

use millrace_measure::figures::grouped;
use serde::Serialize;

use crate::features::{Came, Figures, Spread};

/// What the preset measured.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct ForwardFigures {
    pub clusters: u32,
    /// From each cluster to each other one.
    pub links: u16,
    pub cores: u16,
    /// Events per second of all publishers.
    pub rate: u64,
    /// Events that all clusters published while all were there.
    pub published: u64,
    /// What all receivers have got of them.
    #[serde(flatten)]
    pub came: Came,
    /// Copies that came on a second way, and that receivers' libraries removed.
    pub copies_removed: u64,
    /// From an event until a receiver of its own cluster has it, and one of another.
    pub within_us: Spread,
    pub across_us: Spread,
    /// Events that crossed links while nobody published.
    pub quiet_events: u64,
    pub quiet_s: f64,
    /// While one cluster was away: events that the others published, and what they got of each
    /// other.
    pub published_without: u64,
    pub came_without: Came,
    /// Since the cluster that was killed is ready again, until it has an event of another cluster.
    pub back_us: Option<u64>,
}

impl Figures for ForwardFigures {
    const SCHEMA: &'static str = "millrace-loadgen-forwarding/1";
    const PASSED: &'static str = "each receiver had each event once, and nothing went round.";

    fn lines(&self) -> Vec<(&'static str, String)> {
        let came = |came: &Came| {
            format!(
                "{} delivered, {} missing, {} twice, {} out of order",
                grouped(came.delivered as f64),
                came.missing,
                came.duplicated,
                came.reordered
            )
        };
        vec![
            (
                "clusters",
                format!(
                    "{} in a ring, {} both ways, {} events/s",
                    self.clusters,
                    if self.links == 1 { "links".to_owned() } else { format!("{} links each", self.links) },
                    grouped(self.rate as f64)
                ),
            ),
            ("verified", format!("{} events; {}", grouped(self.published as f64), came(&self.came))),
            ("removed", format!("{} copies that came on a second way", grouped(self.copies_removed as f64))),
            ("within", self.within_us.to_string()),
            ("across", self.across_us.to_string()),
            ("quiet", format!("{} events crossed in {:.1} s", self.quiet_events, self.quiet_s)),
            (
                "one killed",
                format!("{} events; {}", grouped(self.published_without as f64), came(&self.came_without)),
            ),
            (
                "back",
                self.back_us.map_or_else(
                    || "it had no event of another cluster".to_owned(),
                    |us| format!("{:.1} ms after it was ready it had events of others", us as f64 / 1e3),
                ),
            ),
        ]
    }
}
