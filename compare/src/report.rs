//! What came of a comparison: rows of medians, ratios against the bars, and whether the yardsticks
//! were sound.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::drive::Round;
use super::error::CompareError;
use super::options::Options;
use super::system::{Found, System};
use super::workload::{BARS, Bar, Measure, Workload};
use millrace_measure::Host;
use millrace_measure::figures::{grouped, median};

/// Name and version of the format. Fields are added, never renamed or removed within a schema.
pub const SCHEMA: &str = "millrace-loadgen-compare/1";

/// The relay on our loop must be this much faster than on stock quinn.
const CEILING_MIN: f64 = 1.1;
/// nats-server without encryption must carry this many events per second, 1 : 1.
const NATS_MIN: f64 = 1_300_000.0;

/// One workload on one system: medians over its rounds.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Row {
    pub workload: &'static str,
    pub system: &'static str,
    /// `measured`, `skipped` or `failed`.
    pub status: &'static str,
    /// How to get what is absent, or what failed.
    pub note: Option<String>,
    pub version: Option<String>,
    pub encrypted: bool,
    /// What its publisher is promised; absent where that is not the question.
    pub promise: Option<&'static str>,
    pub publishers: u32,
    pub receivers: u32,
    pub tag_sets: u32,
    pub ingress_events_per_s: Option<f64>,
    pub egress_events_per_s: Option<f64>,
    /// Latency is taken at this load, the same for every system.
    pub latency_load_events_per_s: f64,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub cpu_ns_per_event: Option<f64>,
    pub server_cpus: Option<f64>,
    pub client_cpus: Option<f64>,
    /// Of this virtual machine, given to others by its host.
    pub stolen_cpus: Option<f64>,
    pub rss_bytes: Option<f64>,
    /// Deliveries that never happened, over all rounds.
    pub lost: u64,
    /// Deliveries that came twice, late or damaged, over all rounds.
    pub wrong: u64,
    /// By round; those that failed are absent.
    pub rounds: Vec<Option<Round>>,
    #[serde(skip)]
    key: (Workload, System),
}

impl Row {
    pub(super) fn new(workload: Workload, system: System, found: &Found, options: &Options) -> Self {
        let shape = workload.shape(options.payload_bytes, options.window);
        let (status, note) = match found {
            Found::Absent { how } => ("skipped", Some(how.clone())),
            Found::Own | Found::Program { .. } => ("measured", None),
        };
        Self {
            workload: workload.name(),
            system: system.name(),
            status,
            note,
            version: found.version().map(str::to_owned),
            encrypted: system.encrypted(),
            promise: (workload == Workload::Confirmed).then(|| system.promise()),
            publishers: shape.publishers,
            receivers: shape.receivers,
            tag_sets: shape.emitters,
            ingress_events_per_s: None,
            egress_events_per_s: None,
            latency_load_events_per_s: workload.paced_events_per_s(),
            p50_us: None,
            p99_us: None,
            cpu_ns_per_event: None,
            server_cpus: None,
            client_cpus: None,
            stolen_cpus: None,
            rss_bytes: None,
            lost: 0,
            wrong: 0,
            rounds: Vec::new(),
            key: (workload, system),
        }
    }

    pub(super) fn is(&self, workload: Workload) -> bool {
        self.key.0 == workload
    }

    pub(super) fn is_run(&self) -> bool {
        self.status != "skipped"
    }

    pub(super) const fn system(&self) -> System {
        self.key.1
    }

    pub(super) fn title(&self) -> String {
        format!("{} on {}", self.workload, self.system)
    }

    /// Takes the outcome of the round with this number.
    pub(super) fn add(&mut self, number: usize, outcome: Result<Round, CompareError>) {
        self.rounds.resize_with(number, || None);
        match outcome {
            Ok(round) => {
                self.lost += round.lost;
                self.wrong += round.wrong;
                self.rounds.push(Some(round));
            }
            Err(error) => {
                self.status = "failed";
                self.note = Some(error.to_string());
                self.rounds.push(None);
            }
        }
        self.ingress_events_per_s = self.median(|round| round.ingress_events_per_s);
        self.egress_events_per_s = self.median(|round| round.egress_events_per_s);
        self.p50_us = self.median(|round| round.p50_us as f64);
        self.p99_us = self.median(|round| round.p99_us as f64);
        self.cpu_ns_per_event = self.median(|round| round.cpu_ns_per_event);
        self.server_cpus = self.median(|round| round.server_cpus);
        self.client_cpus = self.median(|round| round.client_cpus);
        self.stolen_cpus = self.median(|round| round.stolen_cpus);
        self.rss_bytes = self.median(|round| round.rss_bytes as f64);
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> Option<f64> {
        median(self.rounds.iter().flatten().map(of).collect())
    }

    fn of(&self, number: usize, measure: Measure) -> Option<f64> {
        let round = self.rounds.get(number)?.as_ref()?;
        Some(match measure {
            Measure::Egress => round.egress_events_per_s,
            Measure::P50 => round.p50_us as f64,
            Measure::P99 => round.p99_us as f64,
        })
    }
}

/// Millrace against another system.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Ratio {
    /// Which router of Millrace's.
    pub system: &'static str,
    pub workload: &'static str,
    pub against: String,
    /// `egress`, `p50` or `p99`.
    pub of: &'static str,
    /// Median of the rounds' ratios; each is of two figures of one round.
    pub ratio: Option<f64>,
    /// At least (egress) or at most (latency).
    pub bar: f64,
    pub aim: f64,
    pub met: Option<bool>,
    pub aim_met: Option<bool>,
}

/// Whether a yardstick can be trusted in this run.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Yardstick {
    pub what: &'static str,
    pub value: Option<f64>,
    pub wanted: f64,
    /// Absent when it was not measured.
    pub sound: Option<bool>,
}

/// The whole comparison.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the interface and say what they are")]
pub struct Report {
    pub schema: &'static str,
    pub software: &'static str,
    pub host: Host,
    pub rounds: u32,
    pub duration_s: f64,
    pub payload_bytes: u32,
    /// Events under way at most in saturating workloads, the same for every system.
    pub window_events: u64,
    /// Who decided where servers with one busy thread ran.
    pub placing: &'static str,
    pub yardsticks: Vec<Yardstick>,
    pub ratios: Vec<Ratio>,
    pub rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(options: &Options, rows: Vec<Row>) -> Self {
        let ratios = BARS.iter().filter_map(|bar| ratio(bar, &rows)).collect();
        let yardsticks = vec![
            yardstick(
                "relay on our loop / relay on stock quinn, p2p",
                between(
                    &rows,
                    (Workload::P2p, System::Ceiling),
                    (Workload::P2p, System::CeilingStockQuinn),
                    Measure::Egress,
                ),
                CEILING_MIN,
            ),
            yardstick(
                "nats-plain p2p, events/s",
                row(&rows, (Workload::P2p, System::NatsPlain)).and_then(|row| row.ingress_events_per_s),
                NATS_MIN,
            ),
        ];
        Self {
            schema: SCHEMA,
            software: concat!("millrace-loadgen/", env!("CARGO_PKG_VERSION")),
            host: Host::here(options.load_average),
            rounds: options.rounds,
            duration_s: options.duration.as_secs_f64(),
            payload_bytes: options.payload_bytes,
            window_events: options.window,
            placing: options.placing.name(),
            yardsticks,
            ratios,
            rows,
        }
    }

    /// Whether Millrace delivered everything once and in order, and no system failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rows
            .iter()
            .all(|row| row.status != "failed" && (!row.system().is_millrace() || row.lost + row.wrong == 0))
    }

    /// The tables that a person reads.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{} rounds of {:.1} s, {}-byte payloads, at most {} events under way, all payloads verified. \
             Servers of one core (Millrace and the relays) and their generators have a processor each; NATS and zenoh, \
             with several threads, may use both. \
             Stolen are CPUs that the host gave to others.\n",
            self.rounds,
            self.duration_s,
            self.payload_bytes,
            grouped(self.window_events as f64)
        );
        text += &format!("{}\n", self.medians());
        for row in self.rows.iter().filter(|row| row.note.is_some()) {
            let note = row.note.as_deref().unwrap_or_default();
            text += &format!("{} on {}: {}: {note}\n", row.workload, row.system, row.status);
        }
        for row in self.rows.iter().filter(|row| row.is_run()) {
            if let Some(promise) = row.promise {
                text += &format!("{}: {promise}.\n", row.system);
            }
        }
        text += &format!("{}\n", self.ratio_table());
        for yardstick in &self.yardsticks {
            let said = match yardstick.sound {
                Some(true) => "sound",
                Some(false) => "NOT SOUND",
                None => "not measured",
            };
            let value = yardstick.value.map_or_else(|| "–".to_owned(), figure);
            text += &format!(
                "Yardstick {}: {value}, wanted {}: {said}.\n",
                yardstick.what,
                figure(yardstick.wanted)
            );
        }
        text
    }

    fn medians(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header([
            "workload",
            "system",
            "version",
            "in/s",
            "out/s",
            "p50 µs",
            "p99 µs",
            "at/s",
            "server ns/ev",
            "server CPUs",
            "gen. CPUs",
            "stolen",
            "MiB",
            "lost",
            "wrong",
        ]);
        for row in &self.rows {
            let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), grouped);
            let cpus =
                |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
            table.add_row([
                row.workload.to_owned(),
                row.system.to_owned(),
                row.version.clone().unwrap_or_else(|| row.status.to_owned()),
                number(row.ingress_events_per_s),
                number(row.egress_events_per_s),
                number(row.p50_us),
                number(row.p99_us),
                grouped(row.latency_load_events_per_s),
                number(row.cpu_ns_per_event),
                cpus(row.server_cpus),
                cpus(row.client_cpus),
                cpus(row.stolen_cpus),
                number(row.rss_bytes.map(|bytes| bytes / f64::from(1 << 20))),
                grouped(row.lost as f64),
                grouped(row.wrong as f64),
            ]);
        }
        for column in 3..15 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn ratio_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["millrace on", "against", "of", "ratio", "bar", "aim", ""]);
        for ratio in &self.ratios {
            let sign = if ratio.of == "egress" { "≥" } else { "≤" };
            let verdict = match (ratio.met, ratio.aim_met) {
                (_, Some(true)) => "aim met",
                (Some(true), _) => "bar met",
                (Some(false), _) => "MISSED",
                (None, _) => "not measured",
            };
            let is_plain = ratio.system == System::Millrace.name();
            let workload = ratio.workload.to_owned();
            table.add_row([
                if is_plain { workload } else { format!("{workload}, {}", ratio.system) },
                ratio.against.clone(),
                ratio.of.to_owned(),
                ratio.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
                format!("{sign} {:.2}", ratio.bar),
                format!("{sign} {:.2}", ratio.aim),
                verdict.to_owned(),
            ]);
        }
        table
    }
}

fn figure(value: f64) -> String {
    if value >= 1000.0 { grouped(value) } else { format!("{value:.2}") }
}

fn row(rows: &[Row], key: (Workload, System)) -> Option<&Row> {
    rows.iter().find(|row| row.key == key)
}

/// Median of the rounds' ratios between two rows.
fn between(
    rows: &[Row],
    over: (Workload, System),
    under: (Workload, System),
    measure: Measure,
) -> Option<f64> {
    let (over, under) = (row(rows, over)?, row(rows, under)?);
    let of = |number| Some(over.of(number, measure)? / under.of(number, measure)?.max(1e-9));
    median((0..over.rounds.len()).filter_map(of).collect())
}

/// `None` for a bar whose workload or system is not part of the run.
fn ratio(bar: &Bar, rows: &[Row]) -> Option<Ratio> {
    let (over, under) = ((bar.workload, bar.of), (bar.on, bar.against));
    row(rows, over)?;
    row(rows, under)?;
    let ratio = between(rows, over, under, bar.measure);
    let reaches = |wanted: f64| {
        ratio.map(|ratio| match bar.measure {
            Measure::Egress => ratio >= wanted,
            Measure::P50 | Measure::P99 => ratio <= wanted,
        })
    };
    let against = if bar.on == bar.workload {
        bar.against.name().to_owned()
    } else {
        format!("{} on {}", bar.against.name(), bar.on.name())
    };
    let of = match bar.measure {
        Measure::Egress => "egress",
        Measure::P50 => "p50",
        Measure::P99 => "p99",
    };
    Some(Ratio {
        system: bar.of.name(),
        workload: bar.workload.name(),
        against,
        of,
        ratio,
        bar: bar.bar,
        aim: bar.aim,
        met: reaches(bar.bar),
        aim_met: reaches(bar.aim),
    })
}

fn yardstick(what: &'static str, value: Option<f64>, wanted: f64) -> Yardstick {
    Yardstick { what, value, wanted, sound: value.map(|value| value >= wanted) }
}
