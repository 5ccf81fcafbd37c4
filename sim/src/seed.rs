//! One seed, from its scenario to its report.

use std::panic::{self, AssertUnwindSafe};

use crate::clusters;
use crate::network::Bug;
use crate::report::Report;
use crate::scenario::{Scenario, Size};
use crate::serving;
use crate::world::World;

/// Runs one seed. A panic is a finding.
#[must_use]
pub fn run(seed: u64, size: Size, bug: Option<Bug>, trace: bool) -> Report {
    run_with(seed, size, bug, trace, None)
}

/// Runs one seed with some of its faults only, by their numbers in its schedule; with all, where
/// none are named.
#[must_use]
pub fn run_with(seed: u64, size: Size, bug: Option<Bug>, trace: bool, faults: Option<&[usize]>) -> Report {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| match Scenario::of(seed, size, bug) {
        Ok(mut scenario) => {
            if let Some(faults) = faults {
                scenario.keep_faults(faults);
            }
            let mut report = World::new(scenario, trace).run();
            if clusters::has_links(seed) {
                report.add_clusters(clusters::run(seed));
            }
            if serving::serves(seed) {
                report.add_serving(serving::run(seed));
            }
            report
        }
        Err(error) => Report::panicked(seed, error.to_string()),
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Report::panicked(seed, text.unwrap_or_else(|| "no message".into()))
    })
}
