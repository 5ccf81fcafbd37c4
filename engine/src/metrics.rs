//! Declares metrics: name, kind and meaning of each stand once, at the field that counts it.
//!
//! [`metrics!`](crate::metrics!) writes a struct of plain numbers and the table [`Metric`] of them.
//! Prometheus, `/status` and the load generator read the table, so that a new field shows
//! everywhere.
//!
//! ```
//! millrace_engine::metrics! {
//!     /// What a shop counts.
//!     #[derive(Debug, Clone, Default)]
//!     pub struct Shop {
//!         /// Loaves sold.
//!         sold: counter "sold_loaves",
//!         /// Bytes of the order book.
//!         book: level "book_bytes",
//!     }
//! }
//! let shop = Shop { sold: 3, book: 40 };
//! assert_eq!(Shop::DECLARED[0].name, "sold_loaves");
//! assert_eq!(Shop::DECLARED[0].total(&shop), 3);
//! ```
//!
//! Counting is an addition to a field; nothing else here runs for an event.

use std::time::Duration;

/// How a number moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows within one process life.
    Counter,
    /// It goes up and down.
    Level,
}

/// What a number counts. The name of a metric ends with its unit, as Prometheus wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things; which ones the name says.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// One metric of a struct `T`.
#[derive(Debug)]
pub struct Metric<T: 'static> {
    /// Its name, in snake case, without the prefix `millrace_` and without `_total`.
    pub name: &'static str,
    /// What it means: the documentation of its field.
    pub help: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Where its numbers are.
    pub read: Read<T>,
}

/// Where the numbers of a metric are.
#[derive(Debug)]
pub enum Read<T: 'static> {
    /// One whole number.
    Number(fn(&T) -> u64),
    /// One time in seconds, or a share.
    Real(fn(&T) -> f64),
    /// One number for each value of a label.
    ByLabel {
        /// Name of the label.
        label: &'static str,
        /// Tells each value of the label with its number.
        rows: fn(&T, &mut dyn FnMut(&'static str, u64)),
    },
    /// How long something took.
    Times(fn(&T) -> &Times),
}

impl<T> Metric<T> {
    /// Its unit, as its name says it.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self.name.rsplit('_').next() {
            Some("bytes") => Unit::Bytes,
            Some("seconds") => Unit::Seconds,
            _ => Unit::Count,
        }
    }

    /// Its meaning as plain text, without the marks of documentation, in one line and without a
    /// full stop at its end.
    #[must_use]
    pub fn plain_help(&self) -> String {
        let text = self.help.replace(['[', ']', '`'], "");
        text.trim().trim_end_matches('.').to_owned()
    }

    /// The sum of its whole numbers: 0 for times and shares.
    #[must_use]
    pub fn total(&self, of: &T) -> u64 {
        match self.read {
            Read::Number(number) => number(of),
            Read::ByLabel { rows, .. } => {
                let mut sum = 0;
                rows(of, &mut |_, count| sum += count);
                sum
            }
            Read::Real(_) | Read::Times(_) => 0,
        }
    }
}

/// How long something took: counts by upper bound, and the sum. Bounded memory, no allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    counts: [u64; Times::BOUNDS.len() + 1],
    sum_ns: u64,
}

impl Times {
    /// Upper bounds of the buckets, in milliseconds; one more bucket counts longer times.
    pub const BOUNDS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];

    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        let within = |bound: u64| took <= Duration::from_millis(bound);
        self.counts[Self::BOUNDS.partition_point(|&bound| !within(bound))] += 1;
        self.sum_ns = self.sum_ns.saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_ns).as_secs_f64()
    }

    /// Each bound in seconds, with the number of times that are at most that.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        Self::BOUNDS.into_iter().zip(self.counts).map(move |(bound, count)| {
            sum += count;
            (Duration::from_millis(bound).as_secs_f64(), sum)
        })
    }
}

/// Declares a struct of metrics. See the [module](mod@crate::metrics).
///
/// A field is `name: counter "metric_name"`, `name: level "metric_name"`, `name: times
/// "metric_name_seconds"`, or `name: counter "metric_name" by "label" in Labels`, where `Labels`
/// has an array `ALL` and a function `name`. Each field has its documentation, which is the
/// metric's help.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$meta:meta])*
        $vis:vis struct $struct:ident {
            $(
                $(#[doc = $help:literal])+
                $field:ident: $kind:ident $name:literal $(by $label:literal in $labels:ty)?,
            )+
        }
    ) => {
        $(#[$meta])*
        $vis struct $struct {
            $( $(#[doc = $help])+ pub $field: $crate::metrics!(@type $kind $($labels)?), )+
        }

        impl $struct {
            /// Every metric of this struct, in the order of its fields.
            pub const DECLARED: &'static [$crate::metrics::Metric<Self>] = &[
                $( $crate::metrics::Metric {
                    name: $name,
                    help: concat!($($help),+),
                    kind: $crate::metrics!(@kind $kind),
                    read: $crate::metrics!(@read $kind $field $($label $labels)?),
                }, )+
            ];
        }
    };
    (@type times) => { $crate::metrics::Times };
    (@type $kind:ident) => { u64 };
    (@type $kind:ident $labels:ty) => { [u64; <$labels>::ALL.len()] };
    (@kind level) => { $crate::metrics::Kind::Level };
    (@kind $kind:ident) => { $crate::metrics::Kind::Counter };
    (@read times $field:ident) => { $crate::metrics::Read::Times(|of: &Self| &of.$field) };
    (@read $kind:ident $field:ident) => { $crate::metrics::Read::Number(|of: &Self| of.$field) };
    (@read $kind:ident $field:ident $label:literal $labels:ty) => {
        $crate::metrics::Read::ByLabel {
            label: $label,
            rows: |of: &Self, row| {
                for (label, count) in <$labels>::ALL.into_iter().zip(of.$field) {
                    row(label.name(), count);
                }
            },
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ControlMetrics;
    use crate::core::CoreMetrics;

    #[test]
    fn times_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let mut times = Times::default();
        for ms in [0, 1, 3, 10, 40_000] {
            times.record(Duration::from_millis(ms));
        }
        let within: Vec<u64> = times.cumulative().map(|(_, count)| count).collect();
        assert_eq!((within[0], within[1], within[2], within[3], within[13]), (2, 2, 3, 4, 4));
        assert_eq!(times.count(), 5);
        assert!((times.sum_seconds() - 40.014).abs() < 1e-9);
    }

    /// What Prometheus asks of names, and what its users ask of help.
    fn check<T>(declared: &[Metric<T>]) {
        for metric in declared {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(metric.name.chars().all(plain), "{}", metric.name);
            assert!(!metric.name.ends_with("_total") && !metric.name.ends_with("_count"), "{}", metric.name);
            assert!(metric.plain_help().len() > 8, "{}", metric.name);
            assert!(!metric.plain_help().contains('\n'), "{}", metric.name);
            assert!(!matches!(metric.read, Read::Times(_)) || metric.unit() == Unit::Seconds);
        }
        let names: std::collections::BTreeSet<_> = declared.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), declared.len(), "a name is given twice");
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_that_prometheus_takes_and_a_meaning() {
        check(CoreMetrics::DECLARED);
        check(ControlMetrics::DECLARED);
        check(crate::routes::RouteCacheMetrics::DECLARED);
        check(crate::rights::UsageMetrics::DECLARED);
    }

    #[test]
    fn labelled_numbers_are_told_with_their_labels() {
        let mut core = CoreMetrics::default();
        core.drop(crate::core::DropReason::TooLarge, 7);
        let dropped = CoreMetrics::DECLARED.iter().find(|metric| metric.name == "dropped_events").unwrap();
        let Read::ByLabel { label, rows } = dropped.read else { panic!("drops have reasons") };
        let mut told = Vec::new();
        rows(&core, &mut |reason, count| told.extend((count > 0).then_some((reason, count))));
        assert_eq!((label, told, dropped.total(&core)), ("reason", vec![("too_large", 7)], 7));
    }
}
