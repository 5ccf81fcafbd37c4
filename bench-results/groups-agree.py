#!/usr/bin/env python3
"""For how long two routers disagree on who gets a group's events, after kill -9 of a member.

    bench-results/groups-agree.py target/release --groups 20

Two linked routers, and a publisher at each. Each group has a member of level 1 at the first router
and one of level 2 at the second. The members of level 1 are killed one after the other; for each,
the time is taken at which level 2 has the first event of either publisher. The two routers, each of
which chooses for the events that enter at it, disagree between these times. The exit code is 0 when
the 99th percentile is at most 250 ms.
"""

import argparse
import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BAR_MS = 250
# Events per second of each publisher: no switch is seen between two of them.
RATE = 250
SWITCHED_WITHIN_S = 5


def start(stack: contextlib.ExitStack, command: list, **streams: object) -> subprocess.Popen:
    process = subprocess.Popen([str(part) for part in command], **streams)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def router(stack: contextlib.ExitStack, programs: Path, seeds: list[str]) -> str:
    """A router in dev mode; its address."""
    command = [programs / "millrace-router", "--ready-json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    for seed in seeds:
        command += ["--seed", seed]
    process = start(stack, command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(process.stdout.readline())["addr"]


def member(stack: contextlib.ExitStack, programs: Path, address: str, group: str, level: int) -> subprocess.Popen:
    """A member that is known to both routers."""
    command = [programs / "millrace", "--router", address, "sub", "--group", group, "--level", level, "from"]
    process = start(stack, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    while b"whole cluster" not in (said := process.stderr.readline()):
        if not said:
            sys.exit("a member does not join")
    return process


def publish(process: subprocess.Popen) -> None:
    """Publishes until the publisher is gone."""
    begun, count = time.monotonic(), 0
    with contextlib.suppress(BrokenPipeError, ValueError):
        while True:
            due = int((time.monotonic() - begun) * RATE)
            process.stdin.write(b"work\n" * (due - count))
            process.stdin.flush()
            count = due
            time.sleep(1 / RATE)


def drain(members: list[subprocess.Popen], seconds: float) -> None:
    """Reads what has come."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for one in members:
            with contextlib.suppress(BlockingIOError):
                while one.stdout.read(65536):
                    pass
        time.sleep(0.01)


def switched(second: subprocess.Popen) -> dict[bytes, float]:
    """When level 2 had the first event of each publisher."""
    first: dict[bytes, float] = {}
    rest, until = b"", time.monotonic() + SWITCHED_WITHIN_S
    with selectors.DefaultSelector() as ready:
        ready.register(second.stdout, selectors.EVENT_READ)
        while len(first) < 2 and time.monotonic() < until:
            if not ready.select(0.1):
                continue
            *lines, rest = (rest + (second.stdout.read(65536) or b"")).split(b"\n")
            now = time.monotonic()
            for line in lines:
                first.setdefault(line.split(b"\t")[1], now)
    return first


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path, help="folder of the programs")
    parser.add_argument("--groups", type=int, default=20)
    options = parser.parse_args()
    apart, took = [], []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        one = router(stack, options.programs, [])
        two = router(stack, options.programs, [one])
        names = [f"group-{number}" for number in range(options.groups)]
        levels = [
            [member(stack, options.programs, address, name, level) for name in names]
            for level, address in ((1, one), (2, two))
        ]
        members = [process for level in levels for process in level]
        for process in members:
            os.set_blocking(process.stdout.fileno(), False)
        for address, name in ((one, "one"), (two, "two")):
            command = [options.programs / "millrace", "--router", address, "pub", "-q", "--lines"]
            command += ["--confirm", "none", "--linger", "1ms", "-t", f"from={name}"]
            publisher = start(stack, command, stdin=subprocess.PIPE)
            threading.Thread(target=publish, args=(publisher,), daemon=True).start()
        drain(members, 2)
        for first, second in zip(*levels):
            drain(members, 0.2)
            killed = time.monotonic()
            first.kill()
            times = sorted(at - killed for at in switched(second).values())
            if len(times) < 2:
                sys.exit("level 2 did not take over from both publishers")
            apart.append((times[1] - times[0]) * 1e3)
            took.append(times[1] * 1e3)
    apart.sort()
    p99 = apart[min(len(apart) - 1, int(len(apart) * 0.99))]
    print(f"{len(apart)} kills: both routers had switched after {sorted(took)[len(took) // 2]:.0f} ms (median), "
          f"{max(took):.0f} ms (most)")
    print(f"they disagreed for {apart[len(apart) // 2]:.1f} ms (median), {p99:.1f} ms (p99), bar {BAR_MS} ms")
    return 0 if p99 <= BAR_MS else 1


if __name__ == "__main__":
    sys.exit(main())
