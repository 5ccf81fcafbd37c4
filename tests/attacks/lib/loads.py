"""The attacks as loads: each is set up, says `held`, and goes on at its bound until its standard input ends.

    loads.py NAME TARGET      # TARGET: JSON of class Target
    loads.py nobody SHARE     # burns that share of a CPU against a port of nobody
"""
import collections, dataclasses, hashlib, itertools, random, struct, threading
from h import *
import wire, millrace

MIB = 1 << 20


@dataclasses.dataclass
class Target:
    """Two linked routers, and an authority whose certificates they believe."""
    a: str
    b: str
    admins: list
    ca: str
    peer_cert: list
    router_b: str
    environment: dict


@dataclasses.dataclass
class Load:
    """An attack: what it does, at which bound it is held, and what that may cost each router in memory."""
    act: object
    bound: str
    budget_mib: int
    router_args: tuple = ()
    log_reader_gone: bool = False


LOADS = {}
counts = collections.Counter()


def load(bound, budget_mib, **more):
    def add(act):
        LOADS[act.__name__] = Load(act, bound, budget_mib, **more)
        return act
    return add


def held():
    """The attack is at its bound: whoever measures may begin."""
    if not counts["held"]:
        print("held", flush=True)
    counts["held"] += 1


async def for_ever(act):
    """Does something again and again; a connection that a router has closed is opened anew."""
    while True:
        try:
            await act()
        except (millrace.SessionLost, OSError, RuntimeError, ValueError) as error:
            counts[f"ended: {error}"[:60]] += 1
            await asyncio.sleep(0.05)


async def until_answered(receiver, subscription):
    """Waits for the answer to a Subscribe. Says whether it was refused."""
    await receiver.session.until(lambda: 2 in receiver.stages.get(subscription, ()) or receiver.refused)
    refused, receiver.refused = receiver.refused, None
    counts["refused" if refused else "subscribed"] += 1
    return bool(refused)


class Answers:
    """Counts the answers to Subscribes of a session, of which several are on their way."""

    def __init__(self, s):
        self.session, self.count, real = s, 0, s.control_frame

        def on(kind, body):
            is_whole = kind == wire.SUBSCRIBED and wire.int_of(wire.fields(body), 3) == 2
            if is_whole or kind == wire.REFUSED:
                self.count += 1
                counts["subscribed" if is_whole else "refused"] += 1
            real(kind, body)
        s.control_frame = on

    async def until(self, count):
        # A Subscribe that the next one of its number has overtaken may have no answer of its own.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.session.until(lambda: self.count >= count), 1)
        self.count = max(self.count, count)


# Payload patterns.


def pattern(number):
    """One of a size that is not refused, and of which no two are equal."""
    return "payload ~ /a[ab]{6}[ab]*Q%d/" % number


@load("limits.pattern_scan_per_turn, limits.pattern_wait_per_core: 64 MiB of events wait", 64 + 96)
async def regex_stall(t):
    """Patterns that never match, of 16 receivers, and large events without end that they are looked for in."""
    data = bytes(random.Random(1).choices(b"ab", k=256 << 10))
    async with session(t.a, t.ca) as s, session(t.a, t.ca, receivers=1) as p:
        for n in range(16):
            s.send_frame(open_receiver(s, n, queue=MIB, grant=1 << 50))
            s.send_frame(subscribe(n, 0, ["evil=yes," + pattern(n * 8 + i) for i in range(8)]))
            await until_answered(s.receivers[n], 0)
        publisher = await p.publisher()
        held()
        while True:
            await publisher.publish({"evil": "yes"}, [data])
            counts["events"] += 1
            await asyncio.sleep(0.002)


async def costly_subscribes(t, waiting):
    """Keeps so many Subscribes of costly patterns on their way; old ones are replaced."""
    async with session(t.a, t.ca) as s:
        answers = Answers(s)
        s.send_frame(open_receiver(s, 0, grant=1 << 20))
        for number in itertools.count():
            costly = [",".join("payload ~ /[a-z]{1,60%d}[0-9]{1,30%d}!%d/" % (q, q, number) for q in range(4))] * 8
            cheap = [",".join(pattern(number * 32 + i * 4 + q) for q in range(4)) for i in range(8)]
            s.send_frame(subscribe(0, number % 1024, costly if number % 2 else cheap))
            if number == waiting:
                held()
            await answers.until(number - waiting)


@load("limits.selector_bytes_per_connection: 32 MiB of patterns; limits.pattern_wait_per_core: 64 MiB of others' events, "
      "which the patterns are looked for in", 32 + 64 + 64)
async def regex_memory(t):
    await costly_subscribes(t, 8)


@load("256 MiB of texts wait at most; clients take turns", 32 + 96)
async def subscribe_starve(t):
    await costly_subscribes(t, 256)


# Selectors.


async def hold_globs(stack, t, key, connections):
    """As many loose selectors as these connections may have, on both routers."""
    for c in range(connections):
        s = await stack.enter_async_context(session((t.a, t.b)[c % 2], t.ca))
        s.send_frame(open_receiver(s, 0, grant=1 << 30))
        for i in range(0, 1024, 64):
            s.send_frame(subscribe(0, i // 64, [f"{key}=*{'a' * 400}{c}_{j}*" for j in range(i, i + 64)]))
        await until_answered(s.receivers[0], 15)


@load("limits.loose_selectors_per_connection: 16 connections have 1,024 each; 16 Ki steps of lookups a turn", 64)
async def glob_stall(t):
    """Globs that are slow to match, and new tag sets without end that all of them are tried on."""
    async with contextlib.AsyncExitStack() as stack:
        await hold_globs(stack, t, "k", 16)
        pubs = []
        for router in (t.a, t.b):
            pubs.append(await (await stack.enter_async_context(session(router, t.ca, receivers=1))).publisher())
        held()
        for number in itertools.count():
            await pubs[number % 2].publish({"k": "a" * 1000 + str(number)}, [b"x"])
            counts["events"] += 1


@load("limits.loose_selectors_per_connection: 16 connections have as many as it lets them; 16 Ki steps of lookups a turn", 64)
async def slow_globs(t):
    """Globs that nothing sieves out and that are slow to match, as many as may be, and new tag sets without end."""
    kinds = ["k=*{}?{}*", "k!=*" + "ab" * 100 + "{}_{}*", "k=*" + "a" * 300 + "b" + "a" * 60 + "{}{}*"]
    async with contextlib.AsyncExitStack() as stack:
        for c in range(16):
            s = await stack.enter_async_context(session((t.a, t.b)[c % 2], t.ca))
            s.send_frame(open_receiver(s, 0, grant=1 << 30))
            for i in range(256):
                two = (chr(97 + c), chr(97 + i % 26) + chr(97 + i // 26))
                s.send_frame(subscribe(0, i, [kinds[i % 3].format(*two)]))
            await until_answered(s.receivers[0], 255)
        pubs = [await (await stack.enter_async_context(session(r, t.ca, receivers=1))).publisher() for r in (t.a, t.b)]
        held()
        for number in itertools.count():
            await pubs[number % 2].publish({"k": "a" * 500 + "ab" * 250 + str(number)}, [b"x"])
            counts["events"] += 1


@load("limits.loose_selectors_per_connection: 8 connections have 1,024 each on a key of all others' events", 64)
async def scan_churn(t):
    """Globs on a key that every event has, and 200 changes a second, each of which makes routes stale."""
    async with contextlib.AsyncExitStack() as stack:
        await hold_globs(stack, t, "fqdn", 8)
        s = await stack.enter_async_context(session(t.a, t.ca))
        s.send_frame(open_receiver(s, 1000, grant=0))
        held()
        for number in itertools.count():
            s.send_frame(subscribe(1000, number % 512, ["fqdn=*+%d*" % number]))
            counts["changes"] += 1
            await asyncio.sleep(0.005)


@load("limits.selector_bytes_per_connection: 4 connections have 32 MiB each", 4 * 32 + 128)
async def sel_memory(t):
    """Selectors with long lists until the router refuses more, and then some of them anew."""
    values = ",".join(chr(97 + w % 26) + chr(97 + w // 26) for w in range(255))
    tail = "".join(f",{key} in ({values})" for key in "pqrst")

    async def fill(s):
        for n in range(1024):
            s.send_frame(open_receiver(s, n, grant=1 << 20))
            for i in range(0, 1024, 8):
                s.send_frame(subscribe(n, i // 8, [f"x={n}_{j}{tail}" for j in range(i, i + 8)]))
            if await until_answered(s.receivers[n], 127):
                return n
    async with contextlib.AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(session(router, t.ca)) for router in (t.a, t.b) * 2]
        await asyncio.gather(*map(fill, sessions))
        held()
        for number in itertools.count():
            s = sessions[number % 4]
            s.receivers[0].stages.pop(number // 4 % 128, None)
            s.send_frame(subscribe(0, number // 4 % 128, [f"y={number}_{j}{tail}" for j in range(8)]))
            await until_answered(s.receivers[0], number // 4 % 128)


@load("2,000,000 selectors told to peers; beyond, `*`; 32 MiB a connection", 3 * 32 + 512)
async def interest_overflow(t):
    """More selectors than one router tells another, and then a thousand of them anew, again and again."""
    async def fill(s, c):
        for n in range(1024):
            first = (c * 1024 + n) * 1024
            s.send_frame(open_receiver(s, n) + subscribe(n, 0, ["a=%d" % (first + i) for i in range(1024)]))
            if n % 8 == 7 and await until_answered(s.receivers[n], 0):
                return
    async with contextlib.AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(session(t.a, t.ca)) for _ in range(3)]
        await asyncio.gather(*(fill(s, c) for c, s in enumerate(sessions)))
        held()
        for number in itertools.count():
            s = sessions[number % 3]
            s.receivers[0].stages.pop(0, None)
            s.send_frame(subscribe(0, 0, ["b=%d" % (number * 1024 + i) for i in range(1024)]))
            await until_answered(s.receivers[0], 0)


# Queues and buffers.


@load("limits.queue_budget: 256 MiB", 256 + 96, router_args=("--set", "limits.queue_budget=256MiB"))
async def queue_memory(t):
    """1,024 receivers of everything that take nothing, each with a queue of 64 MiB, and more for them to hold."""
    async with session(t.a, t.ca) as s, session(t.a, t.ca, receivers=1) as p:
        for n in range(1024):
            s.send_frame(open_receiver(s, n, queue=64 << 20, grant=0) + subscribe(n, 0, ["*"]))
            if n % 64 == 63:
                await until_answered(s.receivers[n], 0)
        publisher = await p.publisher()
        for _ in range(60):
            await publisher.publish({"evil": "yes"}, [b"x" * 6000])
        held()
        while True:
            await publisher.publish({"evil": "yes"}, [b"x" * 6000])
            counts["events"] += 1
            await asyncio.sleep(0.01)


@load("limits.stalled_copies_per_core, limits.queue_budget: 256 MiB", 256 + 96,
      router_args=("--set", "limits.queue_budget=256MiB"))
async def trickle(t):
    """The same receivers, each of which takes one event in a second."""
    async with session(t.a, t.ca) as s:
        for n in range(1024):
            s.send_frame(open_receiver(s, n, queue=64 << 20, grant=1) + subscribe(n, 0, ["*"]))
            if n % 64 == 63:
                await until_answered(s.receivers[n], 0)
        s.data = lambda *_: None  # What arrives is not decoded.
        held()
        for number in itertools.count():
            granted = wire.field(2, 2 + number // 128 * 200)
            frames = (wire.field(1, number % 128 * 8 + i) + granted for i in range(8))
            s.send_frame(b"".join(wire.frame(wire.GRANT, body) for body in frames))
            counts["grants"] += 8
            await asyncio.sleep(0.0078)


UDP_SEGMENT = 103


async def pinned(t):
    """A connection of which every other packet is missing, each of the rest in a burst of garbage."""
    async with session(t.a, t.ca, receivers=1) as s:
        await s.until(lambda: s.credit)
        host, port = t.a.rsplit(":", 1)
        raw = s.raw = socket.socket(fileno=os.dup(s._transport.get_extra_info("socket").fileno()))
        real, turn = s._transport, itertools.count()
        garbage = b"".join(b"\x00" + os.urandom(8) + b"g" * 1191 for _ in range(49))

        class Bursts:
            def __getattr__(self, name): return getattr(real, name)
            def sendto(self, data, addr=None):
                if len(data) < 1200: return real.sendto(data, addr)
                if next(turn) % 2 == 0: return
                segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", 1200))]
                with contextlib.suppress(BlockingIOError):
                    raw.sendmsg([data + garbage], segment, 0, (host, int(port)))
                    counts["bursts"] += 1
        s._transport = Bursts()
        s._quic._loss._cc.congestion_window = 1 << 30
        stream = s._quic.get_next_available_stream_id(is_unidirectional=True)
        data = wire.frame(wire.PUBLISH_PREAMBLE) + wire.integer(wire.RUN) + wire.integer(MIB) + b"z" * MIB
        for at in range(0, MIB, 1 << 14):
            s._quic.send_stream_data(stream, data[at:at + (1 << 14)])
            s.transmit()
            await asyncio.sleep(0.02)
        await asyncio.sleep(3)


@load("the window of each of 8 connections: 2.25 MiB, as datagrams of their own", 8 * 8)
async def pin_memory(t):
    held()
    await asyncio.gather(*(for_ever(lambda: pinned(t)) for _ in range(8)))


@load("limits.route_cache_entries: 200,000; 64 Ki names and their bytes; tables of streams", 256,
      router_args=("--set", "limits.route_cache_entries=200000"))
async def many_tags(t):
    """New tag sets without end, which a receiver on the other router wants."""
    async with session(t.a, t.ca, receivers=1) as p, session(t.b, t.ca, receivers=1) as s:
        s.send_frame(open_receiver(s, 0, grant=1 << 50) + subscribe(0, 0, ["id"]))
        await until_answered(s.receivers[0], 0)
        s.data = lambda *_: None  # What arrives is not decoded: this is not about its client.
        publisher, start = await p.publisher(), 0
        held()
        while True:
            runs = []
            for i in range(start, start + 500):
                tags = b"\x01\x02id\x0c" + b"%012d" % i
                hop = b"\x04\x00\x01" + bytes([len(tags)]) + tags
                body = bytes([len(hop)]) + hop + struct.pack(">Q", 0xC000000000000000 | i) + b"\x00\x00\x01\x00\x04evnt"
                runs.append(b"\x14" + wire.integer(len(body)) + body)
            start += 500
            await publisher.write(b"".join(runs))
            counts["events"] += 500


@load("frames of a client's control stream in a turn", 64)
async def pings(t):
    """Pings without end on four connections, whose answers are thrown away."""
    async def ping(router):
        async with session(router, t.ca, receivers=1) as s:
            s.control_frame = lambda *_: None
            held()
            for number in itertools.count():
                s.send_frame(b"".join(wire.frame(wire.PING, wire.field(1, number * 256 + i)) for i in range(256)))
                counts["pings"] += 256
                await asyncio.sleep(0.005)
    await asyncio.gather(*(for_ever(lambda n=n: ping((t.a, t.b)[n % 2])) for n in range(4)))


@load("the streams that a connection may have open", 64)
async def resets(t):
    """Publish streams that are opened, begun and reset, without end, on four connections."""
    async def reset(router):
        async with session(router, t.ca, receivers=1) as s:
            held()
            while True:
                for _ in range(8):
                    stream = s._quic.get_next_available_stream_id(is_unidirectional=True)
                    s._quic.send_stream_data(stream, wire.frame(wire.PUBLISH_PREAMBLE) + b"\x12\x40")
                    s._quic.reset_stream(stream, 0)
                    counts["streams"] += 1
                s.transmit()
                await asyncio.sleep(0.005)
    await asyncio.gather(*(for_ever(lambda n=n: reset((t.a, t.b)[n % 2])) for n in range(4)))


# The admin interface.


def flood(address, host):
    """One request a connection, as fast as answers come."""
    where = address.rsplit(":", 1)
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    while True:
        with contextlib.suppress(OSError):
            with socket.create_connection((where[0], int(where[1])), timeout=5) as s:
                s.sendall(request)
                while s.recv(1 << 16): pass
                counts["answers"] += 1


async def flooded(t, host):
    for admin in t.admins * 4:
        threading.Thread(target=flood, args=(admin, host or admin), daemon=True).start()
    held()
    await asyncio.Event().wait()


@load("64 admin connections, one request each", 32)
async def admin_flood(t):
    await flooded(t, None)


@load("64 admin connections, one request each; the host is refused", 32)
async def admin_host(t):
    await flooded(t, "evil.example")


# What features bring: marks, the past, requests, sets, names, groups, confirms.


class Client:
    """A connection that lists all features and has one stream for all receivers; it reads no events."""

    def __init__(self, s):
        self.session, self.secret, self.first = s, secrets.token_bytes(32), s.control_frame
        s.control_frame, s.data = self.on_control, self.on_data
        self.answered = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, router, ca, **more):
        async with session(router, ca, hello=False, ping=False, **more) as s:
            client, f = cls(s), wire.field
            s.control = s._quic.get_next_available_stream_id()
            tables = b"".join(f(n, size) for n, size in enumerate(millrace.TABLES, 1))
            body = f(1, 1) + f(2, "evil") + f(3, tables) + f(4, 1024) + b"".join(f(6, n) for n in range(1, 18))
            s.send_frame(wire.frame(wire.HELLO, body + f(7, 1) + f(8, client.secret) + f(13, 1)))
            await s.until(lambda: s.welcome)
            pinger = asyncio.create_task(keep(s))
            try:
                yield client
            finally:
                pinger.cancel()

    def on_control(self, kind, body):
        self.answered += kind in (wire.SUBSCRIBED, wire.REFUSED, 0x2E, 0x4E)
        counts[f"told {kind:#x}"] += 1
        if kind in (wire.WELCOME, wire.PING, wire.CREDIT, wire.SUBSCRIBED, wire.REFUSED): self.first(kind, body)

    def on_data(self, stream, data, ended):
        if stream == self.session.control:
            for kind, body in self.session.control_frames.feed(data): self.on_control(kind, body)

    def send(self, *frames): self.session.send_frame(b"".join(frames))

    def open(self, number, more=b"", grant=1 << 50):
        frame = open_receiver(self.session, number)  # So that answers are known as this receiver's.
        return wire.frame(wire.OPEN_RECEIVER, wire.field(1, number) + wire.field(5, grant) + more) if frame else b""

    async def publisher(self):
        """A publisher of a proven id, whose runs are `Client.run`s."""
        publisher = millrace.Publisher(self.session)
        publisher.id = hashlib.sha256(self.secret + bytes(8)).digest()[:16]
        define = wire.define_publisher(0, publisher.id, publisher.epoch)
        await publisher.write(wire.frame(wire.PUBLISH_PREAMBLE) + define + wire.define_tags(0, wire.tag_set({"evil": "yes"})))
        return publisher

    @staticmethod
    def run(publisher, level, more=b"", payloads=(b"x",)):
        hop = wire.integer(level) + wire.integer(0) + wire.integer(0) + more
        body = b"".join(wire.integer(v) for v in (publisher.next_seq, 0, time.time_ns(), len(payloads)))
        body += b"".join(wire.integer(0) + wire.integer(len(payload)) + payload for payload in payloads)
        publisher.next_seq += len(payloads)
        return wire.frame(wire.RUN, wire.integer(len(hop)) + hop + body)


@load("one barrier of a core at a time, whoever asks for marks", 64)
async def marks(t):
    """1,024 receivers of everything each ask for marks, on both routers, as if they moved."""
    async def ask(router):
        async with Client.at(router, t.ca) as c:
            for n in range(1024): c.send(c.open(n, grant=0), subscribe(n, 0, ["evil=yes"]))
            await c.session.until(lambda: c.answered >= 2 * 1024)
            held()
            for number in itertools.count(1):
                c.send(*(wire.frame(0x32, wire.field(1, n) + wire.field(4, number)) for n in range(1024)))
                counts["asked"] += 1024
                await asyncio.sleep(0.05)
    await asyncio.gather(*(for_ever(lambda r=r: ask(r)) for r in (t.a, t.b)))


@load("64 chunks of 32 KiB that a core asks of its owners, 8 of each lane; limits.queue_budget: 64 MiB", 64 + 64 + 96,
      router_args=("--history-bytes", "64MiB", "--set", "limits.queue_budget=64MiB"))
async def replays(t):
    """Receivers of all that is kept, opened again and again, on both routers; what comes is thrown away."""
    async def ask(router):
        async with Client.at(router, t.ca) as c:
            for number in itertools.count():
                n = number % 64
                if number >= 64: c.send(wire.frame(wire.CLOSE_RECEIVER, wire.field(1, n)))
                since = wire.field(1, n) + wire.field(2, 0) + wire.field(3, "*") + wire.field(4, 3_600_000_000)
                c.send(c.open(n), wire.frame(wire.SUBSCRIBE, since))
                counts["asked"] += 1
                if number == 64: held()
                await asyncio.sleep(0.02)
    await asyncio.gather(*(for_ever(lambda r=r: ask(r)) for r in (t.a, t.b)))


@load("262,144 open requests of a core, 34 bytes each; confirms as in `unanswered`", 32 + 96)
async def requests(t):
    """Requests with the longest deadline that nobody answers, and forged replies."""
    async def ask():
        async with Client.at(t.b, t.ca) as r, Client.at(t.a, t.ca) as p:
            r.send(r.open(0), subscribe(0, 0, ["evil=yes"]))
            await r.session.until(lambda: r.answered >= 2)
            publisher = await p.publisher()
            for number in itertools.count():
                asked = wire.field(7, wire.field(4, number & 0xFFFF_FFFF) + wire.field(5, 3_600_000_000))
                forged = wire.field(7, wire.field(3, secrets.token_bytes(24)))
                await publisher.write(b"".join(p.run(publisher, 0, more) for more in [asked] * 31 + [forged]))
                counts["requests"] += 31
                if number == 2000: held()
    await for_ever(ask)


@load("256 sets of a client, 256 members of a set", 64)
async def sets(t):
    """Clients join as many sets as they may, on both routers, leave them and join again."""
    async def join(router, who):
        async with Client.at(router, t.ca) as c:
            await c.publisher()
            for number in itertools.count():
                name = wire.field(1, f"evil{who % 2}-{number % 256}")
                leave = wire.field(5, 1) if number // 256 % 2 else b""
                body = wire.field(2, 0) + wire.field(3, 1 + who) + leave + wire.field(7, number)
                c.send(wire.frame(0x4C, name + body))
                counts["asked"] += 1
                if number == 256: held()
                await asyncio.sleep(0.002)
    await asyncio.gather(*(for_ever(lambda n=n: join((t.a, t.b)[n % 2], n)) for n in range(4)))


@load("1,024 receivers of a connection; 65,536 names of a core", 64)
async def names(t):
    """Two connections, on two routers, take 512 names from each other without end."""
    async def claim(router):
        async with Client.at(router, t.ca) as c:
            for number in itertools.count():
                n = number % 512
                if number >= 512: c.send(wire.frame(wire.CLOSE_RECEIVER, wire.field(1, n)))
                c.send(c.open(n, wire.field(6, f"evil-{n}")))
                counts["asked"] += 1
                if number == 512: held()
                await asyncio.sleep(0.002)
    await asyncio.gather(*(for_ever(lambda r=r: claim(r)) for r in (t.a, t.b)))


@load("groups.hold_bytes: 16 MiB of a group, four times as much of all groups of a core", 2 * 64 + 96,
      router_args=("--set", "groups.hold_bytes=16MiB"))
async def groups(t):
    """Members of 1,000 groups on both routers, which take nothing, say that they are busy, and come back."""
    async def join(router):
        async with Client.at(router, t.ca) as c, Client.at(router, t.ca) as p:
            for n in range(1000): c.send(c.open(n, wire.field(7, f"evil-{n}") + wire.field(9, 16)), subscribe(n, 0, ["evil=yes"]))
            await c.session.until(lambda: c.answered >= 2 * 1000)
            publisher = await p.publisher()
            held()
            for number in itertools.count():
                n = number % 1000
                c.send(*(wire.frame(0x4A, wire.field(1, m % 1000) + wire.field(2, number & 1)) for m in range(n, n + 8)))
                if number % 8 == 0: await publisher.write(p.run(publisher, 0, payloads=[b"x" * 1000]))
                counts["changes"] += 8
                await asyncio.sleep(0.005)
    await asyncio.gather(*(for_ever(lambda r=r: join(r)) for r in (t.a, t.b)))


@load("limits.confirms_per_core: 262,144 of some 200 bytes; 65,536 events of a publisher without an outcome", 2 * 64 + 96)
async def unanswered(t):
    """Events of level *delivered* that receivers on the other router never acknowledge."""
    async def publish():
        async with Client.at(t.b, t.ca) as r, Client.at(t.a, t.ca) as p:
            r.send(r.open(0), subscribe(0, 0, ["evil=yes"]))
            await r.session.until(lambda: r.answered >= 2)
            publisher = await p.publisher()
            for number in itertools.count(1):
                await publisher.write(b"".join(p.run(publisher, 2) for _ in range(64)))
                counts["events"] += 64
                if number == 500: held()
                if publisher.next_seq >= 65_000:
                    await asyncio.sleep(1)
                    return
    await asyncio.gather(*(for_ever(publish) for _ in range(4)))


# What a connection may have of everything at once: names on streams, cursors, receivers, acknowledgements, lives.


async def taken_by(s):
    """1,024 receivers with streams of their own, which take what comes."""
    s.data = lambda *_: None  # What arrives is not decoded.
    for n in range(1024):
        s.send_frame(open_receiver(s, n, queue=64 << 10, grant=1 << 50) + subscribe(n, 0, ["evil"]))
        if n % 64 == 63:
            await until_answered(s.receivers[n], 0)


@load("names on the streams of 1,024 receivers of a connection: as many as on 48 of the largest", 2 * 64)
async def tables(t):
    """Streams of many receivers, each with names of its own for the tag sets of a publisher."""
    async with session(t.a, t.ca) as s, session(t.b, t.ca, receivers=1) as p:
        await taken_by(s)
        publisher = await p.publisher()
        held()
        for number in itertools.count():
            await publisher.publish({"evil": str(number % 4096)}, [b"x"])
            counts["events"] += 1
            await asyncio.sleep(0.002)


def cursor(places):
    """Fields of a Subscribe that goes on behind positions of routers that do not exist."""
    place = lambda: wire.field(1, secrets.token_bytes(8)) + wire.field(2, secrets.token_bytes(8)) + wire.field(4, 1)
    return b"".join(wire.field(5, place()) for _ in range(places))


@load("what a connection asks of the past: 8 MiB with its cursors, each of 4 connections", 64 + 64,
      router_args=("--history-bytes", "32MiB"))
async def cursors(t):
    """Long cursors, of receivers that take nothing of what they ask for."""
    asked = cursor(1000)

    async def ask(router):
        async with Client.at(router, t.ca) as c:
            for number in itertools.count():
                n, subscription = number % 1024, number // 1024 % 64
                if number < 1024: c.send(c.open(n, grant=0))
                c.send(wire.frame(wire.SUBSCRIBE, wire.field(1, n) + wire.field(2, subscription) + wire.field(3, "*") + asked))
                counts["asked"] += 1
                if number == 256: held()
                await asyncio.sleep(0.01)
    await asyncio.gather(*(for_ever(lambda n=n: ask((t.a, t.b)[n % 2])) for n in range(4)))


async def churn(router, t, who, selector):
    """Opens receivers, gives each a selector and closes it, as fast as it goes."""
    async with Client.at(router, t.ca) as c:
        for number in itertools.count():
            n = number % 512
            if number >= 512: c.send(wire.frame(wire.CLOSE_RECEIVER, wire.field(1, n)))
            c.send(c.open(n), subscribe(n, 0, [selector(number)]))
            counts["opened"] += 1
            if number == 512: held()
            if number % 16 == 0: await asyncio.sleep(0.004)


@load("frames of a client's control stream in a turn; clients take turns", 96)
async def receivers(t):
    """Receivers that are opened, have a selector of their own and are closed, on four connections."""
    own = lambda who: lambda number: f"evil={who}-{number}"
    await asyncio.gather(*(for_ever(lambda n=n: churn((t.a, t.b)[n % 2], t, n, own(n))) for n in range(4)))


@load("limits.stalled_copies_per_core, limits.queue_budget: 256 MiB", 256 + 96, router_args=("--set", "limits.queue_budget=256MiB"))
async def newcomers(t):
    """The same with everything: each of them is new, and so has not been seen to take nothing."""
    await asyncio.gather(*(for_ever(lambda n=n: churn((t.a, t.b)[n % 2], t, n, lambda _: "*")) for n in range(4)))


@load("frames of a client's control stream in a turn; what was never sent has no acknowledgement", 64)
async def wide_acks(t):
    """Acknowledgements of everything that there is, and of far more, without end, while events come that ask for them."""
    everything = wire.field(3, b"".join(wire.integer(v) for v in (0, 1 << 40, 1, 1 << 60, 7, 1)))
    tickets = b"".join(wire.field(4, wire.field(1, ticket) + wire.field(2, 1)) for ticket in range(0, 1 << 20, 1 << 14))

    async def acknowledge(router, other):
        async with Client.at(router, t.ca) as c, Client.at(other, t.ca) as p:
            for n in range(64): c.send(c.open(n), subscribe(n, 0, ["evil=yes"]))
            await c.session.until(lambda: c.answered >= 2 * 64)
            publisher = await p.publisher()
            for number in itertools.count():
                acks = (wire.field(1, n) + wire.field(2, 1 + number % 2) + (tickets if n % 8 == 0 else everything) for n in range(64))
                c.send(*(wire.frame(0x30, body) for body in acks))
                await publisher.write(p.run(publisher, 2))
                counts["acknowledged"] += 64
                if number == 20: held()
                await asyncio.sleep(0.005)
    await asyncio.gather(for_ever(lambda: acknowledge(t.a, t.b)), for_ever(lambda: acknowledge(t.b, t.a)))


@load("4,096 sources of positions, which those that come take from those that are gone", 96,
      router_args=("--history-bytes", "32MiB"))
async def lives(t):
    """A peer that comes and goes, with another id and 64 owners each time."""
    async def again():
        pair = dict(cert=t.peer_cert[0], key=t.peer_cert[1], alpn="millrace-peer/1", hello=False, ping=False)
        async with session(t.a, t.ca, **pair) as s:
            s.data = lambda *_: None
            s.control = s._quic.get_next_available_stream_id()
            s.send_frame(peer_hello(secrets.randbits(60) | 1, secrets.randbits(60) | 1, epoch=1000, cores=64, features=range(1, 18)))
            await asyncio.sleep(0.05)
            counts["lives"] += 1
    held()
    await asyncio.gather(*(for_ever(again) for _ in range(4)))


# Identities and peers.


@load("runs under an id that is not proven are dropped and counted", 32)
async def spoof_publisher(t):
    """Publishes without end under another publisher's id."""
    async with session(t.a, t.ca, hello=False, ping=False) as s:
        f, tables = wire.field, b"".join(wire.field(n, size) for n, size in enumerate(millrace.TABLES, 1))
        s.control = s._quic.get_next_available_stream_id()
        # Feature 2: the ids of its publishers follow from the secret, which these do not.
        s.send_frame(wire.frame(wire.HELLO, f(1, 1) + f(2, "evil") + f(3, tables) + f(6, 2) + f(8, secrets.token_bytes(32))))
        await s.until(lambda: s.welcome)
        publisher = await s.publisher()
        payloads = [b"forged"] * 64
        held()
        while True:
            await publisher.publish({"fqdn": "bank-1"}, payloads)
            counts["runs"] += 1


@load("a full handshake or a resumption for each connection; 1,024 connections of an address", 64)
async def ticket_chain(t):
    """Connects again and again, each time with the ticket of the last."""
    tickets = []

    async def again():
        ticket = tickets.pop() if tickets else None
        async with session(t.a, t.ca, receivers=1, ticket=ticket, ticket_handler=tickets.append, ping=False) as s:
            counts["resumed" if s._quic.tls.session_resumed else "full"] += 1
        del tickets[64:]
    held()
    await asyncio.gather(*(for_ever(again) for _ in range(64)))


def peer_hello(router, incarnation, epoch=1, cores=1, features=()):
    f = wire.field
    ids = f(2, router.to_bytes(8, "big")) + f(3, incarnation.to_bytes(8, "big"))
    rest = f(4, cores) + f(5, 0) + f(6, epoch) + f(7, "127.0.0.1:1") + f(9, "evil") + f(10, "evil")
    return wire.frame(0x60, f(1, 1) + ids + rest + b"".join(f(11, feature) for feature in features))


def gossip(count):
    """Tells of routers that do not exist."""
    f = wire.field
    fake = lambda: f(1, secrets.token_bytes(8)) + f(2, f"127.0.0.1:{secrets.randbelow(60000) + 1024}") + f(3, 1)
    return wire.frame(0x6A, b"".join(f(1, fake()) for _ in range(count)))


async def evil_peers(t):
    async def again():
        own = secrets.randbits(1)
        named = int(t.router_b, 16) if own else secrets.randbits(60) | 1
        pair = dict(cert=t.peer_cert[0], key=t.peer_cert[1], alpn="millrace-peer/1", hello=False, ping=False)
        async with session(t.a, t.ca, **pair) as s:
            s.data = lambda *_: None
            s.control = s._quic.get_next_available_stream_id()
            s.send_frame(peer_hello(named, secrets.randbits(60) | 1, epoch=1000))
            for _ in range(20):
                s.send_frame(gossip(200))
                counts["gossip"] += 200
                await asyncio.sleep(0.01)
            counts["sessions"] += 1
    held()
    await asyncio.gather(*(for_ever(again) for _ in range(4)))


@load("128 unproven routers by one peer's word, dialled once a minute; another's id is refused", 64)
async def evil_peer(t):
    await evil_peers(t)


@load("the same, while nobody reads the log", 64, log_reader_gone=True)
async def log_pipe(t):
    await evil_peers(t)


@load("a router's advertised address is dialled again in growing intervals", 64)
async def wrong_advertise(t):
    """A third router tells an address at which nobody is."""
    xdg = t.environment["XDG_RUNTIME_DIR"]
    args = [*t.environment["ROUTER_ARGS"], "--seed", t.a, "--seed", t.b, "--advertise", "127.0.0.1:9"]
    with Router(*args, xdg=xdg, ready=60):
        held()
        await asyncio.Event().wait()


@load("one stateless reset for each packet of nobody's connection, in no more bytes than came", 32)
async def reset_oracle(t):
    """Packets of connections that do not exist, as fast as they go."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    where = [(r.rsplit(":", 1)[0], int(r.rsplit(":", 1)[1])) for r in (t.a, t.b)]
    held()
    while True:
        for number in range(64):
            with contextlib.suppress(BlockingIOError):
                sock.sendto(b"\x40" + os.urandom(59), where[number % 2])
                counts["packets"] += 1
            with contextlib.suppress(BlockingIOError):
                sock.recv(2000)
                counts["resets"] += 1
        await asyncio.sleep(0.0005)


def nobody(share):
    """Burns a share of a CPU as an attacker does: it seals packets and sends them, to a port of nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sock, packet, began = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), os.urandom(1200), time.monotonic()
    burnt = time.process_time()
    held()
    while True:
        due = (time.monotonic() - began) * share
        while time.process_time() - burnt < due:
            hashlib.sha256(packet).digest()
            # The answer to the packet before, that nobody is there, is an error of this one.
            with contextlib.suppress(OSError):
                sock.sendto(packet, ("127.0.0.1", port))
        time.sleep(0.005)


def end_with_standard_input():
    """Whoever measures closes it; counts are told, and this process ends."""
    def wait():
        sys.stdin.read()
        print(json.dumps(counts), flush=True)
        os._exit(0)
    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_standard_input()
    if sys.argv[1] == "nobody":
        nobody(float(sys.argv[2]))
    asyncio.run(for_ever(lambda: LOADS[sys.argv[1]].act(Target(**json.loads(sys.argv[2])))))
