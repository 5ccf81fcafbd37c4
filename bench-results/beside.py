#!/usr/bin/env python3
"""Runs one load with several builds of the load generator, in turns, and compares medians.

    bench-results/beside.py --rounds 5 --args "--preset million --rate 450000 --duration 4s" \\
        before=../before/target/release/millrace-loadgen now=target/dist/millrace-loadgen

Each build is NAME=PROGRAM, with options of its own behind it if it has any
("now0=target/dist/millrace-loadgen --receive-linger 0ms"). Every second round goes the other way
round, so that a machine that gets slower is to nobody's disadvantage. Each run is verified by the
load generator; what it says is kept with --json. A build from elsewhere needs a report with
schema millrace-loadgen-run/1.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SCHEMA = "millrace-loadgen-run/1"


def run(program: list[str], arguments: list[str]) -> dict:
    """One run's report. Ends the whole when there is none: a run that fails its bar has one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [program[0], "run", *arguments, *program[1:], "--json", str(file)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if not file.exists():
            sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        report = json.loads(file.read_text())
    if report["schema"] != SCHEMA:
        sys.exit(f"{program[0]} writes {report['schema']}, this reads {SCHEMA}")
    return report


def figures(report: dict) -> dict[str, float]:
    """What is compared, in the units of the names."""
    cpu, latency = report["cpu_ns_per_event"], report["latency_us"]
    return {
        "routers_ns": cpu["routers"],
        "generator_ns": cpu["loadgen"],
        "sum_ns": cpu["routers"] + cpu["loadgen"],
        "p50_ms": latency["p50"] / 1e3,
        "p99_ms": latency["p99"] / 1e3,
        "offered_per_s": report["offered_events_per_s"],
        "delivered_per_s": report["egress_events_per_s"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--args", default="", help="options of `millrace-loadgen run` for all of them")
    parser.add_argument("--json", type=Path, help="keep what each run reported")
    parser.add_argument("builds", nargs="+", metavar="NAME=PROGRAM")
    options = parser.parse_args()
    builds = {}
    for build in options.builds:
        name, is_build, program = build.partition("=")
        if not is_build or not program:
            parser.error(f"{build}: write NAME=PROGRAM")
        builds[name] = program.split()
    reports: dict[str, list[dict]] = {name: [] for name in builds}
    for number in range(options.rounds):
        for name in list(builds)[:: 1 if number % 2 == 0 else -1]:
            report = run(builds[name], [*options.args.split(), "--no-step-down"])
            reports[name].append(report)
            shown = "  ".join(f"{key} {value:,.1f}" for key, value in figures(report).items())
            print(f"{name:12} {report['verdict']:5} lost {report['lost']}  {shown}", flush=True)
    first = None
    for name, all_of_it in reports.items():
        rows = [figures(report) for report in all_of_it]
        medians = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        first = first or medians
        passed = sum(report["verdict"] == "pass" for report in all_of_it)
        print(f"\n{name}: {passed} of {len(rows)} passed")
        for key, median in medians.items():
            values = [row[key] for row in rows]
            ratio = median / first[key] if first[key] else float("nan")
            print(f"  {key:16} {median:14,.1f}   {min(values):,.1f} to {max(values):,.1f}   {ratio:.2f} x")
    if options.json:
        options.json.write_text(json.dumps(reports, indent=1))


if __name__ == "__main__":
    main()
