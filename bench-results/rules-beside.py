#!/usr/bin/env python3
"""Rules with patterns that ruin other engines, and payloads of a megabyte, beside everybody else.

    bench-results/rules-beside.py target/release --rounds 5 --seconds 4

Two routers of one core have the same load in turns: 1 MiB payloads of one publisher, and beside it
`millrace-loadgen run --preset p2p`, whose events no rule is for. One router has four rules for the
large payloads, with patterns on which a backtracking matcher takes for ever, and the largest
`rules.payload`; a receiver asks for a tag that they add. The other router has no rules. The exit
code is 0 when the others' p99 with rules is at most 1.5 times that without (medians of rounds),
nothing was lost, and the rules looked at payloads at all.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

PAYLOAD_BYTES = 1_000_000
BAR = 1.5
RULES = r"""
[rules]
payload = "64KiB"

[[rule]]
name = "nested"
when = 'kind=big, payload ~ /(x+x+)+y/'
set = { found = "nested" }

[[rule]]
name = "dots"
when = 'kind=big, payload ~ /.*.*=.*.*;/'
set = { found = "dots" }

[[rule]]
name = "states"
when = 'kind=big, payload ~ /[xz]*x[xz]{6}q/'
set = { found = "states" }

[[rule]]
name = "captures"
when = 'kind=big, payload ~ /(?<text>(x|xx)+)y/'
set = { found = "${text}" }
"""


def router(programs: Path, folder: Path, name: str, rules: str, stack: contextlib.ExitStack) -> dict:
    """A router of one core in dev mode; what it says when it is ready."""
    config = folder / f"{name}.toml"
    config.write_text(rules)
    command = [programs / "millrace-router", "--config", config, "--ready-json", "--cores", "1"]
    command += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    log = (folder / f"{name}.log").open("w")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    line = process.stdout.readline()
    if not line:
        sys.exit(f"the router {name} does not start: {(folder / f'{name}.log').read_text()}")
    return json.loads(line)


def publish(programs: Path, address: str, per_second: float, ends: threading.Event) -> None:
    """Publishes large payloads until it is over."""
    command = [programs / "millrace", "--router", address, "pub", "-q", "--lines", "--confirm", "none"]
    command += ["--quench", "off", "-t", "kind=big"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        line = b"x" * (PAYLOAD_BYTES - 1) + b"\n"
        due = time.monotonic()
        while not ends.is_set():
            process.stdin.write(line)
            process.stdin.flush()
            due = max(due + 1 / per_second, time.monotonic() - 1)
            ends.wait(max(0.0, due - time.monotonic()))
        process.stdin.close()


def load(options: argparse.Namespace, folder: Path, address: str) -> dict:
    """The others' figures, beside the large payloads."""
    ends = threading.Event()
    feeding = threading.Thread(target=publish, args=(options.programs, address, options.large, ends))
    feeding.start()
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    command = [options.programs / "millrace-loadgen", "run", "--preset", "p2p", "--router", address]
    command += ["--rate", str(options.rate), "--duration", f"{options.seconds}s", "-q", "--no-step-down"]
    done = subprocess.run([*command, "--json", report], capture_output=True, text=True)
    ends.set()
    feeding.join()
    if not report.exists():
        sys.exit(f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return json.loads(report.read_text())


def counted(admin: str, name: str) -> float:
    """The sum of a metric's series."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path, help="folder of the programs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each load")
    parser.add_argument("--rate", type=int, default=100_000, help="events per second of the others")
    parser.add_argument("--large", type=float, default=20, help="large payloads per second")
    options = parser.parse_args()
    p99: dict[str, list[float]] = {"without": [], "with": []}
    lost = 0
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        os.environ.setdefault("XDG_RUNTIME_DIR", name)
        routers = {
            "without": router(options.programs, folder, "without", "", stack),
            "with": router(options.programs, folder, "with", RULES, stack),
        }
        for ready in routers.values():
            command = [options.programs / "millrace", "--router", ready["addr"], "sub", "-q", "found"]
            taker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(taker.wait)
            stack.callback(taker.kill)
        for number in range(options.rounds):
            for kind in list(routers)[:: 1 if number % 2 == 0 else -1]:
                report = load(options, folder, routers[kind]["addr"])
                latency, lost = report["latency_us"], lost + report["lost"]
                p99[kind].append(latency["p99"] / 1e3)
                print(f"{kind:8} {report['verdict']:5} lost {report['lost']}  p50 {latency['p50'] / 1e3:.2f} ms"
                      f"  p99 {latency['p99'] / 1e3:.2f} ms", flush=True)
        admin = routers["with"]["admin"]
        looked = {what: counted(admin, f"millrace_{what}") for what in ("rule_hits", "rule_steps", "rule_skipped")}
    without, with_rules = (statistics.median(p99[kind]) for kind in ("without", "with"))
    ratio = with_rules / without
    print(f"p99 without rules {without:.2f} ms, with {with_rules:.2f} ms: {ratio:.2f} x (bar {BAR}), lost {lost}")
    print("rules: " + ", ".join(f"{what} {count:,.0f}" for what, count in looked.items()))
    return 0 if ratio <= BAR and lost == 0 and looked["rule_steps"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
