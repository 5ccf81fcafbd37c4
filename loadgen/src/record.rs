//! Collections of runs: a folder each, with the command, the figures, the summary and the page, and
//! an index of all.
//!
//! The index is made anew from the folders each time; what a person wrote above its table stays.

use millrace_measure::figures::grouped;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::command_line::command;

/// The table's head: everything from here on is made anew.
const TABLE: &str = "| run | what | figures | verdict |\n|---|---|---|---|\n";
/// What stands above it in a new index.
const HEAD: &str = "# Benchmark results\n\nOne folder per run: the exact command, the report (host, settings, every figure) and the summary. Newest first.\n\n";

/// What a run leaves behind.
#[derive(Debug)]
pub struct Record<'a> {
    /// Short, for the folder's name, such as `p2p`.
    pub name: &'a str,
    /// The report; what the index says is read from it.
    pub json: &'a str,
    /// What was printed.
    pub summary: &'a str,
    /// The page with plots, where there is one.
    pub html: Option<&'a str>,
}

/// Adds a run to the collection in `folder` and makes its index anew; returns the run's folder.
///
/// # Errors
/// What the system said.
pub fn record(folder: &Path, record: &Record<'_>) -> io::Result<PathBuf> {
    let day = day(SystemTime::now());
    fs::create_dir_all(folder)?;
    let place = (1..)
        .map(|number| match number {
            1 => folder.join(format!("{day}-{}", record.name)),
            _ => folder.join(format!("{day}-{}-{number}", record.name)),
        })
        .find(|place| !place.exists())
        .ok_or(io::ErrorKind::AlreadyExists)?;
    fs::create_dir(&place)?;
    fs::write(place.join("command.txt"), command() + "\n")?;
    fs::write(place.join("report.json"), record.json)?;
    let summary = format!(
        "# {day} {}\n\n```sh\n{}\n```\n\n```text\n{}```\n",
        record.name,
        command(),
        anstream::adapter::strip_str(record.summary)
    );
    fs::write(place.join("summary.md"), summary)?;
    if let Some(html) = record.html {
        fs::write(place.join("report.html"), html)?;
    }
    index(folder)?;
    Ok(place)
}

/// Makes the index anew.
fn index(folder: &Path) -> io::Result<()> {
    let path = folder.join("README.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    // What was written by hand ends where a table begins.
    let head = before.split_once("\n|").map_or(HEAD, |(head, _)| head).trim_end();
    let mut names: Vec<String> = fs::read_dir(folder)?
        .flatten()
        .filter(|entry| entry.path().join("report.json").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_by(|a, b| b.cmp(a));
    let mut text = format!("{head}\n\n{TABLE}");
    for name in names {
        let report = fs::read_to_string(folder.join(&name).join("report.json"))?;
        let report: Value = serde_json::from_str(&report).unwrap_or_default();
        text += &line(&name, &report);
    }
    fs::write(path, text)
}

/// The line of what grew.
fn growth_line(name: &str, report: &Value) -> String {
    let rows = report["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let met = rows.iter().filter(|row| row["met"] == true).count();
    let ratio =
        |row: &Value| row["ratio"].as_f64().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
    let ratios: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{} to {}: {}",
                row["base"].as_str().unwrap_or("?"),
                row["grown"].as_str().unwrap_or("?"),
                ratio(row)
            )
        })
        .collect();
    format!(
        "| [{name}]({name}) | growth at {} ev/s, {} rounds of {} s | {} | {met} of {} bars met |\n",
        grouped(report["events_per_s"].as_f64().unwrap_or(0.0)),
        report["rounds"],
        report["duration_s"],
        ratios.join("; "),
        rows.len(),
    )
}

fn line(name: &str, report: &Value) -> String {
    let number = |key: &str| grouped(report[key].as_f64().unwrap_or(0.0));
    if report["schema"] == crate::growth::SCHEMA {
        return growth_line(name, report);
    }
    if let Some(rows) = report["rows"].as_array() {
        let ratios = report["ratios"].as_array().map_or(&[][..], Vec::as_slice);
        let met = ratios.iter().filter(|ratio| ratio["met"] == true).count();
        let measured = rows.iter().filter(|row| row["status"] == "measured").count();
        let yardsticks = report["yardsticks"].as_array().map_or(&[][..], Vec::as_slice);
        let verdict = if yardsticks.iter().any(|yardstick| yardstick["sound"] == false) {
            "yardsticks not sound: judges no bar".to_owned()
        } else {
            format!("{met} of {} bars met", ratios.len())
        };
        return format!(
            "| [{name}]({name}) | comparison, {} rounds of {} s | {measured} rows measured | {verdict} |\n",
            report["rounds"], report["duration_s"],
        );
    }
    if report["schema"] == crate::chaos::SCHEMA {
        return format!(
            "| [{name}]({name}) | chaos, {} s, {} routers, {} ev/s, {} | {} of {} pairs judged; lost {}, twice {} | {} |\n",
            report["duration_s"],
            report["routers"],
            number("rate"),
            report["confirm"].as_str().unwrap_or("?"),
            number("judged_pairs"),
            number("expected_pairs"),
            number("confirmed_lost"),
            number("duplicates"),
            report["verdict"].as_str().unwrap_or("?"),
        );
    }
    let latency = &report["latency_us"];
    format!(
        "| [{name}]({name}) | {} | {} ev/s in, {} out, of {} wanted; p50 {} µs, p99 {} µs; lost {} | {} |\n",
        report["preset"].as_str().unwrap_or("?"),
        number("ingress_events_per_s"),
        number("egress_events_per_s"),
        number("wanted_events_per_s"),
        latency["p50"],
        latency["p99"],
        report["lost"],
        report["verdict"].as_str().unwrap_or("?"),
    )
}

/// The day of a moment, UTC, as `2026-01-31`.
fn day(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut days = since.as_secs() / 86_400;
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let at = |seconds| day(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01");
        assert_eq!(at(951_782_400), "2000-02-29");
        assert_eq!(at(1_735_689_599), "2024-12-31");
    }

    #[test]
    fn a_second_run_of_a_day_gets_its_own_folder_and_the_index_keeps_what_was_written_above_its_table() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("README.md"),
            "# Ours\n\nBy hand.\n\n| run | x |\n|---|---|\n| old | 1 |\n",
        )
        .unwrap();
        let json = r#"{"preset":"p2p","verdict":"pass","ingress_events_per_s":1500.0}"#;
        let run = Record { name: "p2p", json, summary: "fine\n", html: Some("<html>") };
        let first = record(folder.path(), &run).unwrap();
        let second = record(folder.path(), &run).unwrap();
        assert_ne!(first, second);
        let index = fs::read_to_string(folder.path().join("README.md")).unwrap();
        assert!(index.starts_with("# Ours\n\nBy hand.\n\n| run | what |"), "{index}");
        assert_eq!(index.matches("1,500 ev/s in").count(), 2, "{index}");
        assert!(!index.contains("| old |"));
    }

    #[test]
    fn what_grew_is_a_line_of_ratios() {
        let report = serde_json::json!({
            "schema": crate::growth::SCHEMA, "events_per_s": 50_000, "rounds": 5, "duration_s": 4.0,
            "rows": [
                { "base": "10", "grown": "10,000", "ratio": 1.157, "met": true },
                { "base": "1", "grown": "8", "ratio": null, "met": null },
            ],
        });
        assert_eq!(
            line("day-growth", &report),
            "| [day-growth](day-growth) | growth at 50,000 ev/s, 5 rounds of 4.0 s | 10 to 10,000: 1.16; 1 to 8: – | 1 of 2 bars met |\n"
        );
    }
}
