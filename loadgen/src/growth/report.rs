//! What came of it: rows of ratios against their bars.

use comfy_table::{CellAlignment, Table, presets};
use millrace_measure::Host;
use millrace_measure::figures::median;
use serde::Serialize;

use super::case::Case;
use super::sample::{GrowthOptions, Sample};

/// Name and version of the format.
pub const SCHEMA: &str = "millrace-loadgen-growth/1";

/// One round of a case.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct GrowthRound {
    pub base: Option<Sample>,
    pub grown: Option<Sample>,
    pub ratio: Option<f64>,
    /// Why a side has no figures.
    pub failed: Vec<String>,
}

/// One case: medians over its rounds.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Row {
    pub what: &'static str,
    pub base: &'static str,
    pub grown: &'static str,
    pub base_cpu_ns_per_event: Option<f64>,
    pub grown_cpu_ns_per_event: Option<f64>,
    /// The median of the rounds' ratios.
    pub ratio: Option<f64>,
    pub ratio_max: f64,
    pub aim: f64,
    pub met: Option<bool>,
    pub rounds: Vec<GrowthRound>,
}

impl Row {
    pub(super) fn new(case: &Case) -> Self {
        Self {
            what: case.what,
            base: case.base.name,
            grown: case.grown.name,
            base_cpu_ns_per_event: None,
            grown_cpu_ns_per_event: None,
            ratio: None,
            ratio_max: case.ratio_max,
            aim: case.aim,
            met: None,
            rounds: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, samples: [Result<Sample, String>; 2]) {
        let failed = samples.iter().filter_map(|sample| sample.as_ref().err().cloned()).collect();
        let [base, grown] = samples.map(Result::ok);
        let ratio = base.zip(grown).map(|(base, grown)| grown.cpu_ns_per_event / base.cpu_ns_per_event);
        self.rounds.push(GrowthRound { base, grown, ratio, failed });
        let of =
            |value: fn(&GrowthRound) -> Option<f64>| median(self.rounds.iter().filter_map(value).collect());
        self.base_cpu_ns_per_event = of(|round| Some(round.base?.cpu_ns_per_event));
        self.grown_cpu_ns_per_event = of(|round| Some(round.grown?.cpu_ns_per_event));
        self.ratio = of(|round| round.ratio);
        self.met = self.ratio.map(|ratio| ratio <= self.ratio_max);
    }

    fn is_clean(&self) -> bool {
        let clean = |sample: &Option<Sample>| sample.is_some_and(|sample| sample.clean);
        self.rounds.iter().all(|round| clean(&round.base) && clean(&round.grown))
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct GrowthReport {
    pub schema: &'static str,
    pub software: &'static str,
    pub events_per_s: u64,
    pub duration_s: f64,
    pub rounds: u32,
    pub rows: Vec<Row>,
    pub host: Host,
}

impl GrowthReport {
    pub(super) fn new(rows: Vec<Row>, options: &GrowthOptions, host: Host) -> Self {
        Self {
            schema: SCHEMA,
            software: concat!("millrace-loadgen/", env!("CARGO_PKG_VERSION")),
            events_per_s: options.rate,
            duration_s: options.duration.as_secs_f64(),
            rounds: options.rounds,
            rows,
            host,
        }
    }

    /// Whether every side of every round ran, and delivered everything once and in order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rows.iter().all(Row::is_clean)
    }

    /// The table that a person reads.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["router CPU per event", "from", "ns", "to", "ns", "ratio", "bar", "aim", ""]);
        let ns = |value: Option<f64>| value.map_or("–".to_owned(), |ns| format!("{ns:.0}"));
        for row in &self.rows {
            table.add_row([
                row.what.to_owned(),
                row.base.to_owned(),
                ns(row.base_cpu_ns_per_event),
                row.grown.to_owned(),
                ns(row.grown_cpu_ns_per_event),
                row.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
                format!("{:.2}", row.ratio_max),
                format!("{:.2}", row.aim),
                match row.met {
                    Some(true) => "met",
                    Some(false) => "missed",
                    None => "failed",
                }
                .to_owned(),
            ]);
        }
        for column in [2, 4, 5, 6, 7] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{table}\n");
        for failed in self.rows.iter().flat_map(|row| &row.rounds).flat_map(|round| &round.failed) {
            text += &format!("A side failed: {failed}\n");
        }
        if !self.is_clean() {
            text += "FAIL: not every side delivered everything once and in order.\n";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::case::What;
    use super::*;

    fn sample(cpu_ns_per_event: f64) -> Sample {
        Sample {
            cpu_ns_per_event,
            offered_events_per_s: 1.0,
            events_per_write: 1.0,
            datagrams_in_per_event: 1.0,
            p50_us: 1,
            p99_us: 1,
            lost: 0,
            clean: true,
            generator_was_bottleneck: false,
        }
    }

    #[test]
    fn the_median_of_ratios_counts_and_a_side_that_failed_is_said() {
        let mut row = Row::new(&What::Connections.case(1_000, Duration::from_secs(1)));
        for (base, grown) in [(100.0, 110.0), (200.0, 500.0), (100.0, 120.0)] {
            row.add([Ok(sample(base)), Ok(sample(grown))]);
        }
        assert_eq!((row.ratio, row.met, row.is_clean()), (Some(1.2), Some(true), true));
        row.add([Ok(sample(1.0)), Err("no routers".to_owned())]);
        assert_eq!((row.ratio, row.is_clean()), (Some(1.2), false));
    }

    #[test]
    fn the_sides_of_a_case_differ_in_what_grows_and_in_nothing_else() {
        for what in What::ALL {
            let case = what.case(50_000, Duration::from_secs(1));
            let (base, grown) = (&case.base.scenario, &case.grown.scenario);
            assert_eq!(base.workload.events_per_second, grown.workload.events_per_second);
            assert_eq!(base.workload.emitters, grown.workload.emitters);
            assert_eq!(base.workload.events_per_run, grown.workload.events_per_run);
            assert_eq!(base.publish_linger, grown.publish_linger);
        }
    }
}
