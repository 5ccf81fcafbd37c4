"""Random frames and sequences of frames, legal and illegal, beside honest traffic; see tests/hostile."""
import argparse, random
from h import *

ap = argparse.ArgumentParser()
ap.add_argument("--seconds", type=float, default=30)
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--clients", type=int, default=6)
ap.add_argument("--rss-mib", type=float, default=1500)
ap.add_argument("--json")
args = ap.parse_args()

KEYS = ["host", "service", "severity", "x", "zone", "k" * 128, "ключ"]
VALUES = ["web-1", "web-2", "raid", "error", "9007199254740993", "", "a" * 1024, "-1.5e3", "*", "\u202e"]


class Dice:
    """Everything that one hostile connection sends, drawn from its own seed."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def number(self):
        return self.r.choice([0, 1, 2, 7, 63, 64, 255, 1023, 1024, 16383, 65535, 1 << 20, (1 << 32) - 1, (1 << 62) - 1])

    def selector(self):
        r, key = self.r, self.r.choice(KEYS)
        return r.choice([
            lambda: f"{key}={r.choice(VALUES)}",
            lambda: f"{key}!={r.choice(VALUES)}",
            lambda: f"{key} in ({','.join(str(r.random()) for _ in range(r.randrange(1, 200)))})",
            lambda: f"{key}=*{'a' * r.randrange(60)}*b*{'a' * r.randrange(60)}*",
            lambda: f"{key}>{r.choice(['1', '-1e300', '9' * 40, 'nan', '.5'])}",
            lambda: f"!{key}{r.randrange(100)}",
            lambda: f"payload ~ /{r.choice(['a+b+c+', '(a|b|ab)*c', '[a-z]{1,200}[0-9]{1,200}x', '.*x.{50}', '(?s).*'])}/",
            lambda: "*",
            lambda: "".join(chr(r.randrange(1, 0x2100)) for _ in range(r.randrange(80))),
            lambda: ",".join(f"{r.choice(KEYS)}{i}=v" for i in range(r.randrange(60))),
        ])()

    def tags(self):
        return {self.r.choice(KEYS) + str(self.r.randrange(9)): self.r.choice(VALUES) for _ in range(self.r.randrange(1, 8))}

    def junk(self, most=300):
        return self.r.randbytes(self.r.randrange(most))

    def control(self, n):
        """One control frame: well formed with odd numbers, or damaged."""
        r = self.r
        legal = [
            lambda: wire.frame(wire.OPEN_RECEIVER, wire.field(1, r.choice([n, self.number()])) + wire.field(2, r.randrange(5)) + wire.field(3, self.number()) + wire.field(5, self.number())),
            lambda: subscribe(r.choice([0, 1, n, self.number()]), r.randrange(70), [self.selector() for _ in range(r.randrange(1, 20))]),
            lambda: subscribe(r.randrange(3), r.randrange(3), [self.selector()]),
            lambda: wire.frame(wire.UNSUBSCRIBE, wire.field(1, r.randrange(3)) + wire.field(2, r.randrange(70))),
            lambda: wire.frame(wire.GRANT, wire.field(1, r.randrange(3)) + wire.field(2, self.number())),
            lambda: wire.frame(wire.CLOSE_RECEIVER, wire.field(1, r.randrange(4))),
            lambda: wire.frame(wire.PING, wire.field(1, self.number())),
            lambda: wire.frame(wire.PONG, wire.field(1, self.number())),
        ]
        odd = [
            lambda: wire.frame(r.choice([0x21, 0x39, 0x45, 0x7F, 0x3FFF]), self.junk()),
            lambda: wire.frame(r.choice([0x44, 0x46, 0x48, 0x4A, 0x4C, 0x4E, 0x60, 0x1000]), self.junk()),
            lambda: wire.frame(r.choice([wire.WELCOME, wire.CREDIT, wire.RECEIVED, wire.SUBSCRIBED, wire.REFUSED]), self.junk(40)),
            lambda: wire.hello(millrace.TABLES, "again", 5),
            lambda: self.junk(),
            lambda: wire.integer(r.choice([wire.PING, wire.SUBSCRIBE])) + wire.integer(self.number()) + self.junk(40),
        ]
        data = r.choice(legal if r.random() < 0.93 else odd)()
        if r.random() < 0.04 and data:
            data = bytearray(data)
            for _ in range(r.randrange(1, 4)):
                data[r.randrange(len(data))] ^= 1 << r.randrange(8)
            data = bytes(data)
        return data

    def published(self):
        """A piece of a publish stream: definitions and runs, some of what is not defined."""
        r, out = self.r, b""
        for _ in range(r.randrange(1, 12)):
            try:
                canonical = wire.tag_set(self.tags()) if r.random() < 0.95 else self.junk()
            except ValueError:  # A key that the protocol does not know.
                canonical = self.junk(2000)
            number = r.choice([0, 1, 2, 3, self.number()]) if r.random() < 0.05 else r.randrange(4)
            out += wire.define_tags(number, canonical)
            events = [(time.time_ns(), self.junk(r.choice([10, 300, 9000]))) for _ in range(r.randrange(1, 30))]
            self.seq = getattr(self, "seq", 0)
            try:
                out += wire.run(number, 0, self.seq, [(0, p) for _, p in events])
            except Exception:
                out += wire.frame(wire.RUN, self.junk())
            self.seq += len(events)
        return out


async def hostile(dice, routers, counts, until):
    """One connection after another, each of a few hundred acts, until time is up."""
    while time.monotonic() < until:
        router = dice.r.choice(routers)
        try:
            async with session(router.addr, router.ca, receivers=dice.r.choice([1, 8, 1024]), hello=dice.r.random() < 0.9, ping=dice.r.random() < 0.8, connect=5.0) as s:
                counts["sessions"] += 1
                if s.control is None:
                    s.control = s._quic.get_next_available_stream_id()
                uni = []
                for act in range(dice.r.randrange(5, 400)):
                    if s.lost or time.monotonic() > until:
                        break
                    counts["acts"] += 1
                    kind = dice.r.random()
                    if kind < 0.7:
                        s.send_frame(b"".join(dice.control(act) for _ in range(dice.r.randrange(1, 9))))
                    elif kind < 0.9:
                        if not uni or dice.r.random() < 0.02:
                            stream = s._quic.get_next_available_stream_id(is_unidirectional=True)
                            uni.append(stream)
                            head = wire.frame(wire.PUBLISH_PREAMBLE) + wire.define_publisher(0, dice.r.randbytes(16), dice.number())
                            s._quic.send_stream_data(stream, head if dice.r.random() < 0.9 else dice.junk())
                        s._quic.send_stream_data(dice.r.choice(uni), dice.published())
                        s.transmit()
                    elif kind < 0.93 and uni:
                        s._quic.reset_stream(uni.pop(), dice.number() & 0xFFFF)
                        s.transmit()
                    elif kind < 0.95 and s.streams:
                        s._quic.stop_stream(dice.r.choice(list(s.streams)), 0)
                        s.transmit()
                    elif kind < 0.96:
                        s.send_frame(dice.control(act)[:-1])
                    else:
                        await asyncio.sleep(dice.r.random() * 0.05)
                    await asyncio.sleep(0.002 if dice.r.random() < 0.5 else 0)
                if s.lost:
                    counts[str(s.lost).split(":")[-1].strip().split(" ")[0][:20]] += 1
                if dice.r.random() < 0.3:
                    s._quic.close()  # In the middle of whatever it was.
        except Exception as error:
            counts["refused " + type(error).__name__] += 1
            await asyncio.sleep(0.02)


def garbage(dice, routers):
    """Datagrams that are no QUIC, or only its beginning."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(40):
        host, _, port = dice.r.choice(routers).addr.rpartition(":")
        head = dice.r.choice([b"", b"\xc0\x00\x00\x00\x01\x08", b"\xc3\xff\xff\xff\xff\x14", b"\x40"])
        sock.sendto(head + dice.r.randbytes(dice.r.choice([0, 1, 20, 1200, 1400])), (host, int(port)))
    sock.close()


class Honest:
    """Publishes a number every few milliseconds on one router and checks the numbers on the other."""

    def __init__(self):
        self.sent = self.seen = 0
        self.wrong, self.waits = [], []

    async def run(self, a, b, until):
        async with session(a.addr, a.ca, receivers=1) as p, session(b.addr, b.ca, receivers=1) as r:
            receiver = await r.open_receiver()
            await receiver.subscribe(["honest=yes"])
            publisher = await p.publisher()
            taking = asyncio.create_task(self.take(receiver))
            while time.monotonic() < until:
                await publisher.publish({"honest": "yes"}, [f"{self.sent} {time.monotonic()}".encode()])
                self.sent += 1
                await asyncio.sleep(0.005)
            await publisher.flush()
            end = time.monotonic() + 10
            while self.seen < self.sent and time.monotonic() < end and not taking.done():
                await asyncio.sleep(0.05)
            taking.cancel()

    async def take(self, receiver):
        while True:
            event = await receiver.next()
            if event is None or "gap" in event:
                if event is None or event["gap"] != "joined":
                    self.wrong.append(str(event))
                if event is None: return
                continue
            number, at = event["payload"].decode().split()
            if int(number) != self.seen:
                self.wrong.append(f"{number} where {self.seen} was due")
            self.seen = int(number) + 1
            self.waits.append(time.monotonic() - float(at))


async def main():
    import collections
    counts = collections.Counter()
    xdg = tempfile.mkdtemp(prefix="sec-")
    with Router(xdg=xdg) as a, Router("--seed", a.addr, xdg=xdg) as b:
        routers, until, most = [a, b], time.monotonic() + args.seconds, 0.0
        honest, dead, slow_admin = Honest(), None, 0.0
        tasks = [asyncio.create_task(hostile(Dice(args.seed * 1000 + n), routers, counts, until)) for n in range(args.clients)]
        straight = asyncio.create_task(honest.run(a, b, until))
        dice, loop = Dice(args.seed), asyncio.get_running_loop()
        while time.monotonic() < until and not dead:
            await asyncio.sleep(1)
            garbage(dice, routers)
            dead = next((r for r in routers if not r.alive()), None)
            most = max(most, *(r.rss() for r in routers))
            if not dead:
                began = time.monotonic()
                await loop.run_in_executor(None, lambda: urllib.request.urlopen(f"http://{a.admin}/livez", timeout=10).read())
                slow_admin = max(slow_admin, time.monotonic() - began)
        for task in tasks: task.cancel()
        with contextlib.suppress(Exception): await asyncio.wait_for(straight, 30)
        panicked = [line for r in routers for line in r.err().splitlines() if "panicked" in line]
        waits = sorted(honest.waits) or [0.0]
        verdict = {
            "schema": "millrace.hostile/1", "seconds": args.seconds, "seed": args.seed,
            "died": bool(dead), "panicked": panicked[:3], "acts": counts.pop("acts", 0), "sessions": counts.pop("sessions", 0),
            "ends": dict(counts.most_common(12)), "rss_mib_most": round(most), "admin_s_most": round(slow_admin, 2),
            "honest": {"sent": honest.sent, "seen": len(honest.waits), "wrong": honest.wrong[:5],
                       "p50_ms": round(waits[len(waits) // 2] * 1e3, 1), "p99_ms": round(waits[int(len(waits) * 0.99)] * 1e3, 1)},
        }
        ok = not dead and not panicked and not honest.wrong and honest.sent == len(honest.waits) > 0 and most <= args.rss_mib
        verdict["verdict"] = "pass" if ok else "fail"
        print(json.dumps(verdict, indent=1))
        if args.json: pathlib.Path(args.json).write_text(json.dumps(verdict) + "\n")
        if dead: print(dead.err()[-2000:], file=sys.stderr)
        sys.exit(0 if ok else 1)


asyncio.run(main())
