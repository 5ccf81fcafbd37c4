//! The two texts that scrapers read: Prometheus' own (version 0.0.4) and OpenMetrics 1.0.
//!
//! They differ in three things: Prometheus' names a family of counters with its `_total`,
//! OpenMetrics' without; OpenMetrics names units; and it ends with a mark, by which a reader knows
//! that nothing is missing.

use std::fmt::Write as _;

use millrace_engine::metrics::{Kind, Metric, Read, Times, Unit};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One label: its name and value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Page {
    format: Format,
    text: String,
    /// Name of the family that is being written, as its samples have it.
    name: String,
}

impl Page {
    pub(super) const fn new(format: Format) -> Self {
        Self { format, text: String::new(), name: String::new() }
    }

    /// Begins a family. `name` has no `_total`.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.begin(name, if kind == Kind::Counter { "counter" } else { "gauge" }, help);
        if kind == Kind::Counter {
            self.name.push_str("_total");
        }
    }

    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let family = match self.format {
            Format::Prometheus if kind == "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        };
        // Strings take everything.
        let _ = writeln!(self.text, "# HELP {family} {}", escape(help));
        let _ = writeln!(self.text, "# TYPE {family} {kind}");
        if self.format == Format::OpenMetrics
            && let Some(unit) =
                ["bytes", "seconds"].into_iter().find(|unit| family.ends_with(&format!("_{unit}")))
        {
            let _ = writeln!(self.text, "# UNIT {family} {unit}");
        }
        name.clone_into(&mut self.name);
    }

    /// One sample of the family begun last.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: impl std::fmt::Display) {
        self.line("", labels, value);
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], value: impl std::fmt::Display) {
        self.text.push_str(&self.name);
        self.text.push_str(suffix);
        for (place, (name, value)) in labels.iter().enumerate() {
            self.text.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{name}=\"{}\"", escape(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn times(&mut self, labels: &[Label<'_>], times: &Times) {
        let with_bound = |page: &mut Self, bound: &str, count: u64| {
            let labels: Vec<Label<'_>> = labels.iter().copied().chain([("le", bound)]).collect();
            page.line("_bucket", &labels, count);
        };
        for (bound, count) in times.cumulative() {
            // OpenMetrics wants a fraction in every bound.
            with_bound(self, &format!("{bound:?}"), count);
        }
        with_bound(self, "+Inf", times.count());
        self.line("_sum", labels, times.sum_seconds());
        self.line("_count", labels, times.count());
    }

    /// Writes every metric of a table for some things of one kind, each with its labels.
    pub(super) fn declared<T>(&mut self, declared: &[Metric<T>], of: &[(Vec<Label<'_>>, &T)]) {
        for metric in declared {
            let (name, help) = (format!("millrace_{}", metric.name), metric.plain_help());
            debug_assert!(!matches!(metric.read, Read::Times(_)) || metric.unit() == Unit::Seconds);
            match metric.read {
                Read::Times(_) => self.begin(&name, "histogram", &help),
                _ => self.family(&name, metric.kind, &help),
            }
            for (labels, of) in of {
                match metric.read {
                    Read::Number(number) => self.sample(labels, number(of)),
                    Read::Real(real) => self.sample(labels, real(of)),
                    Read::Times(times) => self.times(labels, times(of)),
                    Read::ByLabel { label, rows } => rows(of, &mut |value, count| {
                        let labels: Vec<Label<'_>> = labels.iter().copied().chain([(label, value)]).collect();
                        self.sample(&labels, count);
                    }),
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Label values and help as both formats want them. Peers choose some: other control characters
/// become spaces.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(format: Format) -> String {
        let mut page = Page::new(format);
        page.family("a_bytes", Kind::Counter, "Some");
        page.sample(&[("name", "x\"\\\n\u{7}y")], 3);
        page.finish()
    }

    #[test]
    fn formats_differ_in_the_names_of_counters_units_and_the_end() {
        let sample = "a_bytes_total{name=\"x\\\"\\\\\\n y\"} 3\n";
        assert_eq!(
            write(Format::Prometheus),
            format!("# HELP a_bytes_total Some\n# TYPE a_bytes_total counter\n{sample}")
        );
        assert_eq!(
            write(Format::OpenMetrics),
            format!("# HELP a_bytes Some\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n{sample}# EOF\n")
        );
    }

    #[test]
    fn times_are_a_cumulative_histogram() {
        let mut times = Times::default();
        times.record(std::time::Duration::from_millis(3));
        let mut page = Page::new(Format::Prometheus);
        page.begin("t_seconds", "histogram", "Times");
        page.times(&[], &times);
        let text = page.finish();
        for line in ["t_seconds_bucket{le=\"0.002\"} 0", "t_seconds_bucket{le=\"0.005\"} 1"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("t_seconds_bucket{le=\"+Inf\"} 1\nt_seconds_sum 0.003\nt_seconds_count 1\n"));
    }
}
