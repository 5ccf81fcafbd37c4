"""Random frames and sequences of frames, legal and illegal, beside honest traffic; see tests/hostile."""
import argparse, collections, hashlib
from h import *
import certs
from dice import Dice, Heard

ap = argparse.ArgumentParser(prog="tests/hostile")
ap.add_argument("--seconds", type=float, default=30)
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--clients", type=int, default=6)
ap.add_argument("--peers", type=int, default=2)
ap.add_argument("--rss-mib", type=float, default=1500)
ap.add_argument("--json", type=pathlib.Path)
args = ap.parse_args()

#: The admin page says that a router lives within a second, whatever its clients do; twice that on a host that is busy.
ADMIN_S_MAX = 2.0
#: What becomes of an honest event is known within this.
HONEST_S_MAX = 10.0


class Ears:
    """Reads what a router sends to a hostile connection, as far as it can be read, and never minds."""

    def __init__(self, s, heard):
        self.session, self.heard, self.streams = s, heard, {}
        s.control_frame, s.data = self.on_control, self.on_data

    def on_control(self, kind, body):
        self.heard.control(kind, body)
        if kind == wire.WELCOME:
            self.session.welcome = {"silence": 30.0}
            self.session.identity = wire.fields(body).get(14, [b""])[-1]

    def on_data(self, stream, data, ended):
        frames = self.streams.setdefault(stream, wire.FrameReader(1 << 22))
        try:
            for kind, body in frames.feed(data):
                if stream == self.session.control: self.on_control(kind, body)
                else: self.heard.data(kind, body)
        except wire.Malformed:
            self.streams[stream] = wire.FrameReader(1 << 22)


async def act_on_streams(dice, s, uni, head, piece):
    """Opens, feeds, resets or stops streams."""
    kind = dice.r.random()
    if kind < 0.85 or not uni:
        if not uni or dice.r.random() < 0.02:
            stream = s._quic.get_next_available_stream_id(is_unidirectional=True)
            uni.append(stream)
            s._quic.send_stream_data(stream, head())
        data = piece()
        if dice.r.random() < 0.03:
            # A byte at a time, as far as that takes no time of others.
            for at in range(min(len(data), 200)): s._quic.send_stream_data(uni[-1], data[at:at + 1])
            data = data[200:]
        s._quic.send_stream_data(dice.r.choice(uni), data, end_stream=dice.r.random() < 0.005)
    elif kind < 0.95:
        s._quic.reset_stream(uni.pop(), dice.number() & 0xFFFF)
    elif s.streams:
        s._quic.stop_stream(dice.r.choice(list(s.streams)), 0)
    s.transmit()


async def some_acts(dice, s, counts, until, control, head, piece):
    """Some hundred acts on one connection."""
    uni = []
    for act in range(dice.r.randrange(5, 400)):
        if s.lost or time.monotonic() > until:
            break
        counts["acts"] += 1
        kind = dice.r.random()
        with contextlib.suppress(AssertionError, ValueError):  # A stream that the router has stopped.
            if kind < 0.7:
                s.send_frame(b"".join(control(act) for _ in range(dice.r.randrange(1, 9))))
            elif kind < 0.95:
                await act_on_streams(dice, s, uni, head, piece)
            elif kind < 0.96:
                s.send_frame(control(act)[:-1])
            elif kind < 0.962:
                s._quic.reset_stream(s.control, 0) if dice.r.random() < 0.5 else s._quic.stop_stream(s.control, 0)
            elif kind < 0.965:
                s._quic.send_stream_data(s._quic.get_next_available_stream_id(), control(act))
            else:
                await asyncio.sleep(dice.r.random() * 0.05)
        await asyncio.sleep(0.002 if dice.r.random() < 0.5 else 0)
    if s.lost:
        counts[str(s.lost).split(":")[-1].strip().split(" ")[0][:20]] += 1
    if dice.r.random() < 0.3:
        s._quic.close()  # In the middle of whatever it was.


async def hostile(dice, cluster, counts, until):
    """One connection of a client after another until time is up."""
    while time.monotonic() < until:
        router = dice.r.choice(cluster.routers)
        shown = dict(zip(("cert", "key"), cluster.client)) if dice.r.random() < 0.3 else {}
        try:
            async with session(router.addr, cluster.ca.path, hello=False, ping=False, connect=5.0, **shown) as s:
                counts["sessions"] += 1
                Ears(s, dice.heard)
                s.control = s._quic.get_next_available_stream_id()
                dice.begin()
                if not dice.odd(0.1):
                    s.send_frame(dice.hello(dice.r.choice([8, 8, 1024]) if not dice.odd(0.3) else 1))
                    # Who waits for Welcome, as one should, has receivers then.
                    if not dice.odd(0.2):
                        with contextlib.suppress(asyncio.TimeoutError): await asyncio.wait_for(s.until(lambda: s.welcome), 1)
                        dice.identity = getattr(s, "identity", b"")
                        if dice.r.random() < 0.8: s.send_frame(dice.setting_up())
                await some_acts(dice, s, counts, until, dice.control, dice.publish_head, dice.published)
        except Exception as error:
            counts["refused " + type(error).__name__] += 1
            await asyncio.sleep(0.02)


async def hostile_peer(dice, cluster, number, counts, until):
    """One connection after another in the protocol between routers, with a router's certificate."""
    name, pair = f"evil{number}", cluster.evil[number]
    # The side with the smaller id dials: an address whose id is smaller than those of the routers.
    smallest = min(bytes.fromhex(r.info["router"]) for r in cluster.routers)
    ports = ((port, hashlib.sha256(f"{name}\0127.0.0.1:{port}".encode()).digest()[:8]) for port in range(1, 65536))
    port, router = next((port, router) for port, router in ports if router < smallest)
    advertise, epoch = f"127.0.0.1:{port}", 1
    while time.monotonic() < until:
        try:
            to, incarnation = dice.r.choice(cluster.routers), dice.r.randbytes(8)
            dice.begin()
            async with session(to.addr, cluster.ca.path, cert=pair[0], key=pair[1], alpn="millrace-peer/1", hello=False, ping=False, connect=5.0) as s:
                counts["peer_sessions"] += 1
                Ears(s, dice.heard)
                s.control = s._quic.get_next_available_stream_id()
                s.send_frame(dice.peer_hello(router, incarnation, dice.number() if dice.odd(0.1) else 0, epoch, advertise, name))
                version = iter(range(1, 1 << 30))
                head = lambda: dice.lane_head(epoch)
                await some_acts(dice, s, counts, until, lambda _: dice.mesh(next(version)), head, dice.carried)
                epoch += 1
        except Exception as error:
            counts["peer refused " + type(error).__name__] += 1
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

    def __init__(self, routers):
        self.sent = self.seen = 0
        self.wrong, self.waits = [], []
        self.routers = [router.info["router"] for router in routers]

    async def run(self, a, b, ca, until):
        async with session(a.addr, ca, receivers=1) as p, session(b.addr, ca, receivers=1) as r:
            receiver = await r.open_receiver()
            await receiver.subscribe(["honest=yes"])
            publisher = await p.publisher()
            taking = asyncio.create_task(self.take(receiver))
            while time.monotonic() < until:
                await publisher.publish({"honest": "yes"}, [f"{self.sent} {time.monotonic()}".encode()])
                self.sent += 1
                await asyncio.sleep(0.005)
            await publisher.flush()
            end = time.monotonic() + HONEST_S_MAX
            while self.seen < self.sent and time.monotonic() < end and not taking.done():
                await asyncio.sleep(0.05)
            taking.cancel()

    async def take(self, receiver):
        while True:
            event = await receiver.next()
            if event is None or "gap" in event:
                # Receivers are told what may be missing of a hostile peer's; of the others' nothing is.
                if event is None or event["gap"] != "joined" and event["router"] in (None, *self.routers):
                    self.wrong.append(str(event))
                if event is None: return
                continue
            number, at = event["payload"].decode().split()
            if int(number) != self.seen:
                self.wrong.append(f"{number} where {self.seen} was due")
            self.seen = int(number) + 1
            self.waits.append(time.monotonic() - float(at))


class Commands:
    """`millrace`, as people use it: lines with confirms from one router to `sub` on the other, again and again."""

    LINES = 500

    def __init__(self, cluster):
        self.a, self.b, self.ca = *cluster.routers, cluster.ca.path
        self.rounds, self.wrong = 0, []

    def command(self, router, *argv, **more):
        return asyncio.create_subprocess_exec(f"{BIN}/millrace", "--router", router.addr, "--ca", self.ca, *argv, **more)

    async def run(self, until):
        pipe, lines = asyncio.subprocess.PIPE, b"".join(b"%d\n" % n for n in range(self.LINES))
        while time.monotonic() < until:
            tag = f"command={self.rounds}"
            sub = await self.command(self.b, "sub", "-n", str(self.LINES), tag, stdout=pipe, stderr=pipe)
            while b"in the" not in (line := await sub.stderr.readline()) and line: pass
            pub = await self.command(self.a, "pub", "--quiet", "--lines", "-t", tag, stdin=pipe, stderr=pipe)
            _, said = await pub.communicate(lines)
            try:
                shown, _ = await asyncio.wait_for(sub.communicate(), HONEST_S_MAX)
            except asyncio.TimeoutError:
                sub.kill()
                shown, _ = await sub.communicate()
            seen = [line.rpartition(b"\t")[2] for line in shown.splitlines()]
            # A peer that is sent the events and never answers makes their outcome partial, which is true.
            if seen != lines.splitlines() or (pub.returncode and not args.peers):
                self.wrong.append(f"round {self.rounds}: {len(seen)} of {self.LINES} lines, pub {pub.returncode}: {said.decode()[-200:]}")
            self.rounds += 1
            await asyncio.sleep(1)


class Cluster:
    """Two linked routers that keep history, with certificates of an authority of their own."""

    def __init__(self, stack):
        self.folder = tempfile.mkdtemp(prefix="hostile-")
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.ca = certs.CA(self.folder)
        self.client = self.ca.issue("web", "millrace://client/web")
        self.evil = [self.ca.issue(f"evil{n}", f"millrace://router/evil{n}") for n in range(args.peers)]
        self.secret = f"{self.folder}/secret"
        pathlib.Path(self.secret).write_text("0123456789abcdef0123")
        os.chmod(self.secret, 0o600)
        a = self.router(stack, "one")
        b = self.router(stack, "two", "--seed", a.addr)
        self.routers = [a, b]
        end = time.monotonic() + 15
        while not all(p["state"] == "linked" for r in self.routers for p in r.status()["peers"] or [{"state": ""}]):
            if time.monotonic() > end: raise RuntimeError("the routers did not link")
            time.sleep(0.1)

    def router(self, stack, name, *more):
        cert, key = self.ca.issue(name, f"millrace://router/{name}")
        tls = ["--cert", cert, "--key", key, "--ca", self.ca.path, "--secret", self.secret]
        return stack.enter_context(Router(*tls, "--cores", "2", "--history-bytes", "16MiB", *more, xdg=self.folder))


def verdict_of(cluster, counts, heard, honest, commands, dead, most, slow_admin):
    panicked = [line for r in cluster.routers for line in r.err().splitlines() if "panicked" in line]
    waits = sorted(honest.waits) or [0.0]
    wrong = [
        *(["a router ended"] if dead else []), *(["a router panicked"] if panicked else []),
        *honest.wrong[:5], *commands.wrong[:5],
        *([f"{honest.sent - len(honest.waits)} honest events are missing"] if honest.sent != len(honest.waits) else []),
        *(["no honest event was sent"] if not honest.sent else []),
        *([f"memory: {most:.0f} MiB"] if most > args.rss_mib else []),
        *([f"the admin page took {slow_admin:.1f} s"] if slow_admin > ADMIN_S_MAX else []),
    ]
    return {
        "schema": "millrace.hostile/2", "verdict": "fail" if wrong else "pass", "wrong": wrong,
        "seconds": args.seconds, "seed": args.seed, "clients": args.clients, "peers": args.peers,
        "panicked": panicked[:3], "acts": counts.pop("acts", 0), "sessions": counts.pop("sessions", 0),
        "peer_sessions": counts.pop("peer_sessions", 0), "ends": dict(counts.most_common(16)),
        "heard": {f"{kind:#x}": count for kind, count in sorted(heard.frames.items())},
        "rss_mib_most": round(most), "rss_mib_budget": args.rss_mib, "admin_s_most": round(slow_admin, 2),
        "honest": {"sent": honest.sent, "seen": len(honest.waits), "p50_ms": round(waits[len(waits) // 2] * 1e3, 1),
                   "p99_ms": round(waits[int(len(waits) * 0.99)] * 1e3, 1)},
        "commands": {"rounds": commands.rounds, "lines": commands.LINES},
    }


async def main():
    counts, heard = collections.Counter(), Heard()
    with contextlib.ExitStack() as stack:
        cluster = Cluster(stack)
        until, most = time.monotonic() + args.seconds, 0.0
        honest, commands, dead, slow_admin = Honest(cluster.routers), Commands(cluster), None, 0.0
        dice = lambda n: Dice(args.seed * 1000 + n, heard)
        tasks = [asyncio.create_task(hostile(dice(n), cluster, counts, until)) for n in range(args.clients)]
        tasks += [asyncio.create_task(hostile_peer(dice(500 + n), cluster, n, counts, until)) for n in range(args.peers)]
        straight = [asyncio.create_task(honest.run(*cluster.routers, cluster.ca.path, until)), asyncio.create_task(commands.run(until))]
        thrown, loop = dice(999), asyncio.get_running_loop()
        while time.monotonic() < until and not dead:
            await asyncio.sleep(1)
            garbage(thrown, cluster.routers)
            dead = next((r for r in cluster.routers if not r.alive()), None)
            most = max(most, *(r.rss() for r in cluster.routers))
            for router in cluster.routers if not dead else ():
                began = time.monotonic()
                look = lambda: urllib.request.urlopen(f"http://{router.admin}/livez", timeout=10).read()
                try:
                    await loop.run_in_executor(None, look)
                except OSError as error:
                    honest.wrong.append(f"/livez: {error}")
                slow_admin = max(slow_admin, time.monotonic() - began)
        for task in tasks: task.cancel()
        with contextlib.suppress(asyncio.TimeoutError):
            for ended in await asyncio.wait_for(asyncio.gather(*straight, return_exceptions=True), 40):
                if isinstance(ended, Exception): honest.wrong.append(f"{type(ended).__name__}: {ended}")
        verdict = verdict_of(cluster, counts, heard, honest, commands, dead, most, slow_admin)
        print(json.dumps(verdict, indent=1))
        if args.json: args.json.write_text(json.dumps(verdict) + "\n")
        if dead: print(dead.err()[-2000:], file=sys.stderr)
        return 1 if verdict["wrong"] else 0


sys.exit(asyncio.run(main()))
