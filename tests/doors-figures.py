"""Figures of doors: python3 tests/doors-figures.py FOLDER_OF_BINARIES [--only sse,http,nats,mqtt,ab,loggen] [--json FILE]

For a machine that does nothing else, with release programs. Starts a router and a gateway, loads one door after the other through
loopback, and prints what it saw as JSON. Each part ends within --seconds and the time to connect (10,000 streams: some 20 s). Clients
are sockets that write prepared bytes, so that what is measured is the door:

  sse   10,000 streams of server-sent events in 100 groups; 100 events a second, each to a group: bytes a stream, latency
  http  CloudEvents in batches of 100, four connections: events a second, and for each second of the gateway's CPU
  nats  messages of 128 bytes from one connection to another, 500 under way; then one each millisecond: also of nats-server, if
        --nats-server names one, in turns; with --async-nats, the release program of peers/async-nats, the same with that client
  mqtt  QoS 1 from one connection, 100 unacknowledged, to another that takes QoS 0
  ab      ApacheBench posts single events on 16 connections that are kept: --ab names it (Debian's apache2-utils)
  loggen  syslog-ng's load generator sends RFC 3164 over TCP and over UDP: --loggen names it (syslog-ng-core)

Exit code 1: somebody was not served. Bars are in the answer beside each figure, and judge nobody: other machines have other figures.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time

from mqtt_packets import packet as mqtt_packet, text

TICKS = os.sysconf("SC_CLK_TCK")


def quantiles(latencies):
    ordered = sorted(latencies)
    at = lambda share: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3) if ordered else None
    return {"count": len(ordered), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1)}


class Program:
    """A program while it runs."""

    def __init__(self, folder, *command, ready=True):
        self.log = open(f"{folder}/{os.path.basename(command[0])}.log", "w+")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MILLRACE_")} | {"XDG_RUNTIME_DIR": folder}
        out = subprocess.PIPE if ready else self.log
        self.process = subprocess.Popen(command, env=environment, stdout=out, stderr=self.log)
        self.ready = json.loads(self.process.stdout.readline()) if ready else None

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def place(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Stream(asyncio.Protocol):
    """A stream of server-sent events, of which the payloads are times."""

    SENT = re.compile(rb'"payload":"(\d+\.\d+)"')

    def __init__(self, head, latencies):
        self.head, self.latencies, self.rest = head, latencies, b""
        self.subscribed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        transport.write(self.head)

    def data_received(self, data):
        now = time.monotonic()
        data = self.rest + data
        whole = data.rfind(b"\n") + 1
        self.rest = data[whole:]
        if not self.subscribed.done() and b"event: subscribed" in data:
            self.subscribed.set_result(None)
        for sent in self.SENT.findall(data[:whole]):
            self.latencies.append(now - float(sent))


async def sse(gateway, options):
    host, port = place(gateway.ready["http"])
    latencies, groups = [], 100
    loop = asyncio.get_running_loop()
    before = gateway.resident_bytes()

    async def stream(number):
        head = f"GET /events?select=group={number % groups} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
        _, protocol = await loop.create_connection(lambda: Stream(head, latencies), host, port)
        await asyncio.wait_for(protocol.subscribed, 60)

    for start in range(0, options.clients, 200):
        await asyncio.gather(*(stream(number) for number in range(start, min(start + 200, options.clients))))
    each = (gateway.resident_bytes() - before) / options.clients
    reader, writer = await asyncio.open_connection(host, port)
    began, cpu = time.monotonic(), gateway.cpu_seconds()
    events = int(options.seconds * groups)
    for number in range(events):
        await asyncio.sleep(max(0, began + number / groups - time.monotonic()))
        body = f"{time.monotonic():.6f}".encode()
        head = f"POST /events?level=none&tag=group={number % groups} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: text/plain\r\n"
        writer.write(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", answer).group(1)))
    owed = events * options.clients // groups
    end = time.monotonic() + 20
    while len(latencies) < owed and time.monotonic() < end:
        await asyncio.sleep(0.05)
    took = time.monotonic() - began
    return {
        "clients": options.clients, "bytes_each": round(each), "bar_bytes_each": 40_000, "deliveries_per_s": round(len(latencies) / took),
        "owed": owed, "latency": quantiles(latencies), "bar_p99_ms": 50, "gateway_cpu_share": round((gateway.cpu_seconds() - cpu) / took, 3),
        "ok": len(latencies) == owed,
    }


async def http(gateway, options):
    host, port = place(gateway.ready["http"])
    event = lambda number: {"specversion": "1.0", "id": str(number), "source": "/figures", "type": "figures", "data": "x" * 64}
    body = json.dumps([event(number) for number in range(100)]).encode()
    head = f"POST /events HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/cloudevents-batch+json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    end, counts, wrong, latencies = time.monotonic() + options.seconds, [], [], []

    async def connection():
        reader, writer = await asyncio.open_connection(host, port)
        count = 0
        while time.monotonic() < end:
            began = time.monotonic()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", answer).group(1)))
            latencies.append(time.monotonic() - began)
            if b" 202 " in answer.split(b"\r\n")[0]:
                count += 100
            else:
                wrong.append(answer.split(b"\r\n")[0].decode())
        counts.append(count)

    began, cpu = time.monotonic(), gateway.cpu_seconds()
    await asyncio.gather(*(connection() for _ in range(4)))
    took, spent = time.monotonic() - began, gateway.cpu_seconds() - cpu
    return {
        "events_per_s": round(sum(counts) / took), "events_per_cpu_s": round(sum(counts) / max(spent, 0.01)), "bar_events_per_cpu_s": 20_000,
        "batches": quantiles(latencies), "refused": len(wrong), "ok": not wrong,
    }


def pump(sender, receiver, message, length, seconds, window, pause=0.0):
    """Sends messages to `receiver` as long as no more than `window` are under way; `length` is that of one on its way back. With a pause,
    one at a time, and how long each took."""
    sender.setblocking(False)
    receiver.setblocking(False)
    ways = selectors.DefaultSelector()
    ways.register(receiver, selectors.EVENT_READ)
    ways.register(sender, selectors.EVENT_READ | selectors.EVENT_WRITE)
    block, sent, heard, rest, latencies, since = max(1, window // 20), 0, 0, b"", [], 0.0
    began = time.monotonic()
    end = began + seconds
    while True:
        now = time.monotonic()
        if now > end + 10 or (now > end and heard // length >= sent and not rest):
            break
        got = heard // length
        if not rest and now < end and sent - got <= window - block and now >= since + pause:
            rest, sent, since = message * block, sent + block, now
        ways.modify(sender, selectors.EVENT_READ | (selectors.EVENT_WRITE if rest else 0))
        for key, events in ways.select(0 if pause else 0.05):
            if key.fileobj is sender and events & selectors.EVENT_WRITE and rest:
                rest = rest[sender.send(rest):]
            if events & selectors.EVENT_READ:
                data = key.fileobj.recv(1 << 20)
                if not data:
                    raise SystemExit("the server has closed a connection")
                if key.fileobj is receiver:
                    heard += len(data)
                    if pause and heard // length == sent:
                        latencies.append(time.monotonic() - since)
    took = min(time.monotonic(), end) - began
    return {"sent": sent, "heard": heard // length, "per_s": round(heard // length / took), "latency": quantiles(latencies)}


def nats_connection(at):
    connection = socket.create_connection(at)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nPING\r\n')
    said = b""
    while b"PONG\r\n" not in said:
        said += connection.recv(4096)
    return connection


def nats_round(at, seconds):
    payload = b"x" * 128
    message, arriving = b"PUB figures 128\r\n" + payload + b"\r\n", len(b"MSG figures 1 128\r\n") + 130
    results = {}
    for name, window, pause in (("throughput", 500, 0.0), ("latency", 1, 0.001)):
        sender, receiver = nats_connection(at), nats_connection(at)
        receiver.sendall(b"SUB figures 1\r\nPING\r\n")
        said = b""
        while b"PONG\r\n" not in said:
            said += receiver.recv(4096)
        results[name] = pump(sender, receiver, message, arriving, seconds, window, pause)
        sender.close()
        receiver.close()
    return results


def async_nats_round(options, at, seconds):
    """The same with a client that programs use."""
    command = [options.async_nats, f"nats://{at[0]}:{at[1]}", str(seconds)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=seconds * 2 + 150).stdout)


def beside(results, per_s, p50_ms):
    """The middle of the rounds at the door, and beside it that of nats-server."""
    middle = lambda values: sorted(values)[len(values) // 2]
    rate, p50 = (lambda name: middle([per_s(one) for one in results[name]])), (lambda name: middle([p50_ms(one) for one in results[name]]))
    answer = {"door_per_s": rate("door"), "door_p50_ms": p50("door"), "rounds": results}
    if results["nats_server"]:
        answer |= {"nats_server_per_s": rate("nats_server"), "nats_server_p50_ms": p50("nats_server")}
        answer |= {"throughput_share": round(rate("door") / rate("nats_server"), 3), "bar_throughput_share": 0.5}
        answer |= {"p50_times": round(p50("door") / p50("nats_server"), 2), "bar_p50_times": 3}
    return answer


def nats(gateway, options, folder):
    results, of_programs = {"door": [], "nats_server": []}, {"door": [], "nats_server": []}
    server = None
    if options.nats_server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Program(folder, options.nats_server, "-a", "127.0.0.1", "-p", str(port), ready=False)
    try:
        places = {"door": place(gateway.ready["nats"])} | ({"nats_server": ("127.0.0.1", port)} if server else {})
        for _ in range(600 if server else 0):
            try:
                socket.create_connection(places["nats_server"]).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        for _ in range(options.rounds):
            for name, at in places.items():
                results[name].append(nats_round(at, options.seconds / 2))
                if options.async_nats:
                    of_programs[name].append(async_nats_round(options, at, options.seconds / 2))
    finally:
        if server:
            server.end()
    answer = beside(results, lambda one: one["throughput"]["per_s"], lambda one: one["latency"]["latency"]["p50_ms"])
    answer["ok"] = all(one[part]["sent"] == one[part]["heard"] for one in results["door"] for part in one)
    if options.async_nats:
        answer["async_nats"] = beside(of_programs, lambda one: one["per_s"], lambda one: one["p50_ms"])
    return answer


def mqtt(gateway, options):
    def connection(name):
        made = socket.create_connection(place(gateway.ready["mqtt"]))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.sendall(mqtt_packet(0x10, text(b"MQTT"), b"\x04\x02\x00\x00", text(name)))
        if made.recv(4) != b"\x20\x02\x00\x00":
            raise SystemExit("the MQTT door refuses")
        return made

    sender, receiver = connection(b"sender"), connection(b"receiver")
    receiver.sendall(mqtt_packet(0x82, b"\x00\x01", text(b"figures"), b"\x00"))
    receiver.recv(5)
    payload, window, seconds = b"x" * 128, 100, options.seconds
    arriving = len(mqtt_packet(0x30, text(b"figures"), payload))
    sender.setblocking(False)
    receiver.setblocking(False)
    ways = selectors.DefaultSelector()
    ways.register(sender, selectors.EVENT_READ)
    ways.register(receiver, selectors.EVENT_READ)
    sent = acknowledged = heard = 0
    began, cpu = time.monotonic(), gateway.cpu_seconds()
    end = began + seconds
    while time.monotonic() < end or (acknowledged // 4 < sent and time.monotonic() < end + 10):
        if time.monotonic() < end and sent - acknowledged // 4 < window:
            count = window - (sent - acknowledged // 4)
            numbers = ((sent + at) % 60_000 + 1 for at in range(count))
            packets = b"".join(mqtt_packet(0x32, text(b"figures"), number.to_bytes(2, "big"), payload) for number in numbers)
            sender.setblocking(True)
            sender.sendall(packets)
            sender.setblocking(False)
            sent += count
        for key, _ in ways.select(0.05):
            data = key.fileobj.recv(1 << 20)
            if not data:
                raise SystemExit("the MQTT door has closed a connection")
            if key.fileobj is sender:
                acknowledged += len(data)
            else:
                heard += len(data)
    took, spent = time.monotonic() - began, gateway.cpu_seconds() - cpu
    return {
        "published_per_s": round(acknowledged // 4 / took), "delivered": heard // arriving, "sent": sent,
        "published_per_cpu_s": round(acknowledged // 4 / max(spent, 0.01)), "ok": acknowledged // 4 == sent,
    }


def published(gateway, door):
    """Events that a door has taken."""
    command = ["curl", "-sf", f"http://{gateway.ready['admin']}/metrics"]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return int(re.search(rf'millrace_gateway_published_events_total{{door="{door}"}} (\d+)', text).group(1))


def ab(gateway, options, folder):
    with open(f"{folder}/body", "w") as body:
        body.write("x" * 128)
    # The length of answers differs with the digits of ids.
    load = ["-q", "-k", "-l", "-c", "16", "-t", str(int(options.seconds)), "-n", "10000000", "-p", body.name, "-T", "text/plain"]
    cpu = gateway.cpu_seconds()
    command = [options.ab, *load, f"http://{gateway.ready['http']}/events?tag=figures=ab"]
    said = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    spent, number = gateway.cpu_seconds() - cpu, lambda pattern: float(re.search(pattern, said).group(1))
    complete = int(number(r"Complete requests: +(\d+)"))
    refused = "Non-2xx" in said or number(r"Failed requests: +(\d+)") > 0
    return {
        "events_per_s": round(number(r"Requests per second: +([\d.]+)")), "events_per_cpu_s": round(complete / max(spent, 0.01)),
        "p50_ms": number(r"50%\s+(\d+)"), "p99_ms": number(r"99%\s+(\d+)"), "taken": published(gateway, "http"), "ok": not refused,
    }


def loggen(gateway, options, folder):
    results, ok = {}, True
    for way, kind, address in (("tcp", "--stream", "syslog_tcp"), ("udp", "--dgram", "syslog_udp")):
        host, port = place(gateway.ready[address])
        before, cpu = published(gateway, "syslog"), gateway.cpu_seconds()
        rate = options.loggen_rate if way == "tcp" else options.loggen_rate // 5
        command = [options.loggen, "--inet", kind, "--size", "256", "--rate", str(rate), "--interval", str(int(options.seconds)), host, str(port)]
        done = subprocess.run(command, capture_output=True)
        # The last one is of all of it.
        counted = re.findall(r"count=(\d+)", (done.stdout + done.stderr).decode())
        sent, end = int(counted[-1]) if counted else 0, time.monotonic() + 20
        while published(gateway, "syslog") - before < sent and time.monotonic() < end and way == "tcp":
            time.sleep(0.1)
        taken, spent = published(gateway, "syslog") - before, gateway.cpu_seconds() - cpu
        results[way] = {"asked_per_s": rate, "sent": sent, "taken": taken, "taken_per_cpu_s": round(taken / max(spent, 0.01))}
        # Datagrams may be lost before anybody reads them.
        ok &= sent > 0 and (taken >= sent or way == "udp")
    return results | {"ok": ok}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", help="folder of the release programs")
    parser.add_argument("--only", default="sse,http,nats,mqtt", help="parts, separated by commas")
    parser.add_argument("--seconds", type=float, default=10, help="of load, for each part")
    parser.add_argument("--clients", type=int, default=10_000, help="streams of server-sent events")
    parser.add_argument("--rounds", type=int, default=3, help="of NATS")
    parser.add_argument("--nats-server", help="the program of nats-server, to compare with")
    parser.add_argument("--async-nats", help="the release program of peers/async-nats, to measure with that client, too")
    parser.add_argument("--ab", default="ab", help="ApacheBench's program")
    parser.add_argument("--loggen", default="loggen", help="the program of syslog-ng's load generator")
    parser.add_argument("--loggen-rate", type=int, default=200_000, help="messages a second over TCP; a fifth of it over UDP")
    parser.add_argument("--json", help="a file for the answer")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parts = {
        "sse": lambda gateway, folder: asyncio.run(sse(gateway, options)),
        "http": lambda gateway, folder: asyncio.run(http(gateway, options)),
        "nats": lambda gateway, folder: nats(gateway, options, folder),
        "mqtt": lambda gateway, folder: mqtt(gateway, options),
        "ab": lambda gateway, folder: ab(gateway, options, folder),
        "loggen": lambda gateway, folder: loggen(gateway, options, folder),
    }
    answer = {"schema": "millrace.doors-figures/1", "cpus": os.cpu_count(), "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        router = Program(folder, f"{options.bin}/millrace-router", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ready-json")
        gateway = None
        try:
            for name in options.only.split(","):
                # Each has a gateway of its own, that begins with nothing.
                doors = ("--http", "--nats", "--mqtt", "--syslog-tcp", "--syslog-udp", "--admin")
                listens = [part for door in doors for part in (door, "127.0.0.1:0")]
                gateway = Program(folder, f"{options.bin}/millrace-gateway", "--router", router.ready["addr"], *listens, "--ready-json")
                ready = ["curl", "-sfo", "/dev/null", f"http://{gateway.ready['admin']}/readyz"]
                for _ in range(300):
                    if subprocess.run(ready).returncode == 0:
                        break
                    time.sleep(0.1)
                answer[name] = parts[name](gateway, folder)
                print(json.dumps({name: answer[name]}), flush=True)
                gateway.end()
        finally:
            for program in (gateway, router):
                if program and program.process.poll() is None:
                    program.end()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(answer, file, indent=1)
    return 0 if all(answer[name]["ok"] for name in options.only.split(",")) else 1


if __name__ == "__main__":
    sys.exit(main())
