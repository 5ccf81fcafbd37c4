#!/usr/bin/env python3
"""Where the time of a lone event goes, from its publisher's system call to its receiver's.

    bench-results/each-10-micros.py FOLDER_OF_BINARIES [--rate 1000] [--seconds 4] [--json FILE]

Runs `millrace-loadgen run --preset p2p --processes` at a rate at which each event is alone, traces
system calls and wake-ups of the generator's thread and of the router's core (perf, root), and
prints the median of each stretch between two of them. Events that did not take the usual way
(something else was due in between) are left out and counted. Tracing costs about half a
microsecond for each point; the stretches contain it.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

CALLS = ["sendmsg", "sendmmsg", "recvmmsg", "epoll_pwait2"]
EVENTS = ["sched:sched_waking"] + [f"syscalls:sys_{side}_{call}" for call in CALLS for side in ("enter", "exit")]
LINE = re.compile(r"^\s*(?P<comm>.+?)\s+(?P<tid>\d+)\s+(?P<time>\d+\.\d+):\s+(?P<event>[\w:]+):\s*(?P<rest>.*)$")
# What happens between two points, in the order in which a lone event passes them.
STRETCHES = [
    ("generator", "wakes up for its schedule, writes, seals: until it calls sendmsg"),
    ("kernel", "its call, to the router's core being woken"),
    ("kernel", "the core runs: from being woken to the end of its rest"),
    ("router", "until it has read the datagram (recvmmsg)"),
    ("router", "opens, routes, encodes, seals: until it calls sendmsg"),
    ("kernel", "its call, to the generator being woken"),
    ("kernel", "the generator runs: from being woken to the end of its rest"),
    ("generator", "until it has read the datagram (recvmmsg)"),
    ("generator", "opens, decodes, checks: until it rests again"),
]


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="folder of millrace-loadgen")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", help="writes the stretches to this file")
    return parser.parse_args()


def threads_of(pid):
    names = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm") as file:
            names[int(tid)] = file.read().strip()
    return names


def find(load):
    """The generator's thread, and the core of the router that it has started."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        children = subprocess.run(["pgrep", "-P", str(load.pid)], capture_output=True, text=True)
        cores = [
            tid
            for child in children.stdout.split()
            for tid, name in threads_of(child).items()
            if "-core-" in name
        ]
        fleets = [tid for tid, name in threads_of(load.pid).items() if name.startswith("fleet")]
        if cores and fleets:
            return fleets[0], cores[0]
        time.sleep(0.1)
    sys.exit("no thread of a fleet or a core appeared")


def trace(arguments):
    folder = tempfile.mkdtemp()
    load = subprocess.Popen(
        [f"{arguments.folder}/millrace-loadgen", "run", "--preset", "p2p", "--processes", "--quiet"]
        + ["--rate", str(arguments.rate), "--linger", "0s", "--no-step-down", "--allow", "rate"]
        + ["--duration", f"{arguments.seconds + 3}s"],
        stdout=subprocess.DEVNULL,
    )
    try:
        fleet, core = find(load)
        time.sleep(3)
        record = ["perf", "record", "-q", "-o", f"{folder}/trace", "-k", "CLOCK_MONOTONIC"]
        for event in EVENTS:
            record += ["-e", event]
        subprocess.run(
            record + ["-t", f"{fleet},{core}", "--", "sleep", str(arguments.seconds)], check=True
        )
    finally:
        load.wait()
    script = subprocess.run(
        ["perf", "script", "-i", f"{folder}/trace", "-F", "comm,tid,time,event,trace", "--ns"],
        capture_output=True,
        text=True,
        check=True,
    )
    return script.stdout, fleet, core


def points(script, fleet, core):
    """Who did what when: `g` and `r`, then the call and whether it begins or ends, or `woken`."""
    names = {fleet: "g", core: "r"}
    for line in script.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        event, at = match["event"], float(match["time"]) * 1e6
        if event == "sched:sched_waking":
            woken = re.search(r"\bpid=(\d+)", match["rest"])
            if woken and int(woken[1]) in names:
                yield at, names[int(woken[1])] + " woken"
        elif int(match["tid"]) in names:
            side, call = re.match(r"syscalls:sys_(enter|exit)_(\w+)", event).groups()
            call = {"sendmmsg": "send", "sendmsg": "send", "recvmmsg": "recv", "epoll_pwait2": "rest"}[call]
            yield at, f"{names[int(match['tid'])]} {call} {side}"


WAY = ["g rest exit", "g send enter", "r woken", "r rest exit", "r recv exit", "r send enter"]
WAY += ["g woken", "g rest exit", "g recv exit", "g rest enter"]


def ways(all_points):
    """The times of each event that took the usual way, point by point, and how many began one."""
    taken, begun, way = [], 0, []
    for at, what in all_points:
        if what == WAY[0] and len(way) != 7:
            way, begun = [at], begun + 1
        elif way and len(way) < len(WAY) and what == WAY[len(way)]:
            way.append(at)
            if len(way) == len(WAY):
                taken.append(way)
                way = []
        # Everything else (looks for more datagrams, the other's rest) lies within a stretch.
    return taken, begun


def main():
    arguments = options()
    taken, begun = ways(points(*trace(arguments)))
    if len(taken) < 50:
        sys.exit(f"only {len(taken)} of {begun} events took the usual way")
    rows = []
    for at, (who, what) in enumerate(STRETCHES):
        lengths = sorted(way[at + 1] - way[at] for way in taken)
        rows.append((who, what, statistics.median(lengths), lengths[len(lengths) // 10]))
    for who, what, median, least in rows:
        print(f"{who:>9}  {median:6.1f} µs  (a tenth below {least:5.1f})  {what}")
    whole = statistics.median(way[8] - way[1] for way in taken)
    print(f"{whole:.1f} µs from the publisher's call to the receiver's datagram; {len(taken)} of {begun} rests were of lone events")
    if arguments.json:
        fields = ("who", "what", "median_us", "tenth_us")
        report = {"whole_us": whole, "events": len(taken), "rests": begun}
        report["stretches"] = [dict(zip(fields, row)) for row in rows]
        with open(arguments.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
