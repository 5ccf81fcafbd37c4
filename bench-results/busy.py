#!/usr/bin/env python3
"""How much of its throughput each system keeps beside other programs on the same processors.

    bench-results/busy.py --rounds 5 --share 30 --program target/release/millrace-loadgen -- \\
        --workload p2p --system millrace,nats-plain --duration 3s --placing free

Each round is one `millrace-loadgen compare` alone and one with a neighbour on every processor that
computes so much of the time, in pieces of 1 to 20 ms whose order a seed fixes; every second round
begins with the busy one. What counts is the median of the rounds' ratios. Nothing else may run.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import Event, Process
from pathlib import Path


def neighbour(processor: int, share: float, seed: int, over) -> None:
    """Computes `share` of the time on one processor until it is over."""
    os.sched_setaffinity(0, {processor})
    random_ = random.Random(seed)
    while not over.is_set():
        piece = random_.uniform(0.001, 0.02)
        end = time.thread_time() + piece
        while time.thread_time() < end:
            pass
        # What it waited for a processor is no rest.
        time.sleep(piece * (1 - share) / share)


def compare(program: str, arguments: list[str]) -> dict[tuple[str, str], float]:
    """Deliveries per second of each system on each workload."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        command = [program, "compare", "--rounds", "1", "--quiet", "--json", str(file), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if not file.exists():
            sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        report = json.loads(file.read_text())
    found = {}
    for row in report["rows"]:
        rounds = [one for one in row["rounds"] if one]
        if rounds:
            found[row["workload"], row["system"]] = rounds[0]["egress_events_per_s"]
    return found


def busy(options, round_: int) -> dict[tuple[str, str], float]:
    over = Event()
    processors = sorted(os.sched_getaffinity(0))
    neighbours = [
        Process(target=neighbour, args=(cpu, options.share / 100, options.seed + 100 * round_ + cpu, over))
        for cpu in processors]
    for one in neighbours:
        one.start()
    try:
        return compare(options.program, options.arguments)
    finally:
        over.set()
        for one in neighbours:
            one.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=int, default=30, help="of each processor, percent (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default="target/release/millrace-loadgen")
    parser.add_argument("--json", type=Path, help="keep what each round measured")
    parser.add_argument("arguments", nargs="*", help="options of `millrace-loadgen compare`, behind --")
    options = parser.parse_args()
    if not 1 <= options.share <= 99:
        parser.error("--share is between 1 and 99")
    kept: list[dict] = []
    for round_ in range(options.rounds):
        steps = {"quiet": lambda: compare(options.program, options.arguments),
                 "busy": lambda: busy(options, round_)}
        order = ["quiet", "busy"] if round_ % 2 == 0 else ["busy", "quiet"]
        found = {name: steps[name]() for name in order}
        for key in sorted(set(found["quiet"]) & set(found["busy"])):
            quiet, pressed = found["quiet"][key], found["busy"][key]
            kept.append({"round": round_, "workload": key[0], "system": key[1], "quiet_per_s": quiet,
                         "busy_per_s": pressed, "ratio": pressed / max(quiet, 1.0)})
            print(f"{round_ + 1}/{options.rounds} {key[0]} {key[1]}: {quiet:,.0f}/s alone, "
                  f"{pressed:,.0f}/s beside neighbours, {pressed / max(quiet, 1.0):.2f}", flush=True)
    for key in sorted({(one["workload"], one["system"]) for one in kept}):
        ratios = sorted(one["ratio"] for one in kept if (one["workload"], one["system"]) == key)
        print(f"{key[0]} {key[1]}: median {statistics.median(ratios):.2f}, "
              f"from {ratios[0]:.2f} to {ratios[-1]:.2f}")
    if options.json:
        options.json.write_text(json.dumps({"schema": "millrace-busy/1", "share": options.share,
                                            "rounds": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
