"""Figures of a host's agent: python3 tests/agent-figures.py FOLDER_OF_BINARIES [--gib 10] [--seconds 5] [--json FILE]

Starts an agent without a router on a spool of its own, in --folder, and prints what it saw as JSON: how long an answer takes, with and
without `sync=now`; then fills the spool with --gib in events of a million bytes, kills the agent (kill -9), starts it again, and notes
how long it takes until it answers, how much memory it has then, and how many events it says are pending. --gib needs as much room on the
disk.

Exit code 1: an answer was not 202, an event is missing, or the memory at the start is above 64 MiB.
"""

import argparse
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time


class Agent:
    def __init__(self, options, folder, router):
        self.socket = f"{folder}/agent.sock"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE_")} | {"XDG_RUNTIME_DIR": folder}
        command = [f"{options.bin}/millrace-agent", "--router", router, "--spool", f"{folder}/spool", "--spool-free", "0",
                   "--spool-bytes", f"{options.gib * 5 + 1}GiB", "--socket", self.socket, "--http", "off", "--syslog-udp", "off",
                   "--syslog-tcp", "off", "--admin", "off", "--fqdn", "web-1", "--ready-json"]
        began = time.monotonic()
        self.log = open(f"{folder}/agent.log", "a")
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=self.log)
        json.loads(self.process.stdout.readline())
        self.status()
        self.start_s = time.monotonic() - began

    def connect(self):
        connection = http.client.HTTPConnection("agent")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.socket)
        return connection

    def status(self):
        connection = self.connect()
        connection.request("GET", "/status")
        return json.loads(connection.getresponse().read())

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return round(int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024, 1)

    def kill(self):
        self.process.kill()
        self.process.wait()


def publish(connection, body, more=""):
    began = time.monotonic()
    connection.request("POST", f"/events?tag=figures=agent{more}", body, {"Content-Type": "text/plain"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 202:
        raise SystemExit(f"{answer.status}: {said[:200]!r}")
    return time.monotonic() - began


def quantiles(latencies):
    ordered = sorted(latencies)
    at = lambda share: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)
    return {"count": len(ordered), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1)}


def during(seconds, act):
    end, took = time.monotonic() + seconds, []
    while time.monotonic() < end:
        took.append(act())
    return quantiles(took)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", help="folder of the release programs")
    parser.add_argument("--gib", type=int, default=1, help="to spool")
    parser.add_argument("--seconds", type=float, default=5, help="of single events, for each kind")
    parser.add_argument("--folder", help="where spools are made, and removed")
    parser.add_argument("--json", help="a file for the answer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        agent = Agent(options, folder, "127.0.0.1:9")
        answer = {"schema": "millrace.agent-figures/1", "cpus": os.cpu_count(), "load_before": os.getloadavg()[0], "empty_mib": agent.resident_mib()}
        connection = agent.connect()
        answer["accepted"] = during(options.seconds, lambda: publish(connection, b"x" * 128))
        answer["sync_now"] = during(options.seconds, lambda: publish(connection, b"x" * 128, "&sync=now"))
        began, large = time.monotonic(), b"x" * 1_000_000
        for _ in range(options.gib * (1 << 30) // len(large)):
            publish(connection, large)
        # All of it is on the disk.
        publish(connection, b"last", "&sync=now")
        took = time.monotonic() - began
        pending = agent.status()["pending"]
        answer |= {"spooled_gib": options.gib, "mib_per_s": round(options.gib * 1024 / took), "pending": pending, "full_mib": agent.resident_mib()}
        agent.kill()
        agent = Agent(options, folder, "127.0.0.1:9")
        answer |= {"start_s": round(agent.start_s, 3), "start_mib": agent.resident_mib(), "bar_start_mib": 64}
        answer["pending_after_kill"] = agent.status()["pending"]
        agent.kill()
        answer["ok"] = answer["pending_after_kill"] == pending and answer["start_mib"] <= 64
    print(json.dumps(answer, indent=1))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(answer, file, indent=1)
    return 0 if answer["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
