"""What hostile connections send, drawn from seeds: frames of clients and of peers, legal, odd and damaged."""
import random, time
from h import open_receiver, subscribe  # noqa: F401: `subscribe` is used below.
import hashlib, millrace, wire

KEYS = ["host", "service", "severity", "x", "zone", "k" * 128, "ключ"]
VALUES = ["web-1", "web-2", "raid", "error", "9007199254740993", "", "a" * 1024, "-1.5e3", "*", "\u202e"]
NAMES = ["desk", "disks", "feed", "n" * 64, "n" * 65, "", "\u202e", "a\u001b[31m", "grüße"]
FEATURES = list(range(1, 18))

ACK, MOVE, QUENCHED, MEMBER, STANDBY = 0x30, 0x32, 0x48, 0x4A, 0x4C
DELIVER, CURSOR, REPLAY, MARK, DEFINE_SOURCE = 0x18, 0x19, 0x1D, 0x17, 0x1E
OF_THE_ROUTER = [wire.WELCOME, wire.CREDIT, wire.RECEIVED, wire.SUBSCRIBED, wire.REFUSED, wire.RECEIVER_CLOSED, wire.GOAWAY, 0x2E, 0x44, 0x46, 0x4E, 0x70, 0x72]
PEER_HELLO, INTEREST, INTEREST_ACK, DIGEST, INTEREST_REQUEST, PEERS = 0x60, 0x62, 0x64, 0x66, 0x68, 0x6A
LEG_ACK, TICKETS, MARK_REQUEST, GROUP_MEMBERS, SET_RECORDS = 0x6C, 0x6E, 0x74, 0x80, 0x82
HISTORY_REQUEST, HISTORY_STATE, HOLD, LOAD, REPLIES = 0x84, 0x86, 0x88, 0x89, 0x72
LANE_PREAMBLE, REPLAY_PREAMBLE = 0x54, 0x58
HOP_LANE_SEQ = 4

f = wire.field


class Dice:
    """Everything that one hostile connection sends, drawn from its own seed; `heard` is what routers told it."""

    def __init__(self, seed, heard):
        self.r, self.heard, self.lane_seq = random.Random(seed), heard, 0
        self.begin()

    def begin(self):
        """Another connection: how wild it is (some send nearly nothing that ends them), and the secret of its ids."""
        self.wild, self.seq, self.epoch = self.r.choice([0.0, 0.01, 0.1, 1.0]), 0, self.r.getrandbits(60)
        self.secret, self.identity = self.r.randbytes(32) if self.r.random() < 0.8 else None, b""

    def odd(self, chance):
        """Whether to do what may end the connection."""
        return self.r.random() < chance * self.wild

    # Values.

    def number(self):
        return self.r.choice([0, 1, 2, 7, 63, 64, 255, 1023, 1024, 16383, 65535, 1 << 20, (1 << 32) - 1, (1 << 62) - 1])

    def few(self):
        """A number that is often one in use."""
        return self.number() if self.odd(0.3) else self.r.randrange(4)

    def junk(self, most=300):
        return self.r.randbytes(self.r.randrange(most))

    def fixed64(self):
        return self.r.choice([*self.heard.routers, self.r.randbytes(8)])

    def name(self):
        return self.r.choice(NAMES[:3] if self.r.random() < 0.8 else NAMES)

    def ranges(self):
        return b"".join(wire.integer(self.few()) + wire.integer(1 + self.few()) for _ in range(self.r.randrange(1, 6)))

    def token(self):
        return self.r.choice([*self.heard.tokens, self.r.randbytes(24)])

    def ticket(self):
        ticket, generation = self.r.choice([*self.heard.tickets, (self.number(), self.number())])
        return f(1, ticket) + f(2, generation)

    def position(self):
        return f(1, self.fixed64()) + f(2, self.fixed64()) + f(3, self.few()) + f(4, self.number())

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
            lambda: "millrace/internal",
            lambda: "".join(chr(r.randrange(1, 0x2100)) for _ in range(r.randrange(80))),
            lambda: ",".join(f"{r.choice(KEYS)}{i}=v" for i in range(r.randrange(60))),
        ])()

    def tags(self):
        return {self.r.choice(KEYS) + str(self.r.randrange(9)): self.r.choice(VALUES) for _ in range(self.r.randrange(1, 8))}

    def canonical(self):
        try:
            return self.junk() if self.odd(0.05) else wire.tag_set(self.tags())
        except ValueError:  # A key that the protocol does not know.
            return self.junk(2000) if self.odd(0.5) else wire.tag_set({"host": self.r.choice(VALUES)})

    def damaged(self, data, chance=0.04):
        """The same, now and then with some bits turned or its end cut off."""
        if not data or not self.odd(chance): return data
        if self.r.random() < 0.2: return data[:self.r.randrange(len(data))]
        data = bytearray(data)
        for _ in range(self.r.randrange(1, 4)):
            data[self.r.randrange(len(data))] ^= 1 << self.r.randrange(8)
        return bytes(data)

    # A client.

    def hello(self, receivers):
        """Which features a client lists, and whether it has one stream for all receivers, is drawn, too."""
        r = self.r
        features = FEATURES if r.random() < 0.7 else r.sample(FEATURES, r.randrange(len(FEATURES))) + [self.number()]
        body = f(1, self.number() if self.odd(0.02) else 1) + f(2, "hostile")
        if r.random() < 0.9: body += f(3, b"".join(f(n, size) for n, size in enumerate(millrace.TABLES, 1)))
        body += f(4, receivers) + f(5, r.choice([0, 1000, self.number()])) + b"".join(f(6, feature) for feature in features)
        if r.random() < 0.6: body += f(7, self.number() if self.odd(0.1) else 1)
        if self.secret: body += f(8, r.randbytes(r.randrange(64)) if self.odd(0.05) else self.secret)
        if self.odd(0.1): body += f(9, r.choice(["token", "t" * 4096, "t" * 5000]))
        if r.random() < 0.3: body += f(10, r.choice(NAMES[:3]))
        if self.odd(0.05): body += f(11, self.fixed64())
        if r.random() < 0.6: body += f(13, 1)
        return self.damaged(wire.frame(wire.HELLO, body), 0.02)

    def opening(self, n):
        """OpenReceiver: plain, with a name, or as a member of a group."""
        r = self.r
        body = f(1, self.number() if self.odd(0.3) else n % 8) + f(2, r.choice([0, 0, 0, 1, 3, 2, 4])) + f(3, self.number()) + f(5, r.choice([0, 1 << 20, 1 << 40, self.number()]))
        kind = r.random()
        if kind < 0.2: body += f(6, self.name())
        elif kind < 0.5: body += f(7, self.name()) + f(8, r.choice([1, 1, 2, 8, 9])) + f(9, self.number()) + f(11, r.randrange(2))
        elif kind < 0.53: body += f(6, self.name()) + f(7, self.name()) + f(10, self.number())
        return wire.frame(wire.OPEN_RECEIVER, body)

    def setting_up(self):
        """What a session begins with: receivers of everything, one of them a member, one with a name."""
        kinds = [b"", f(7, NAMES[1]) + f(9, 16), f(6, NAMES[0]), b""]
        open_all = b"".join(wire.frame(wire.OPEN_RECEIVER, f(1, n) + f(5, 1 << 20) + kind) for n, kind in enumerate(kinds))
        return open_all + b"".join(subscribe(n, 0, ["*"]) for n in range(len(kinds)))

    def of_the_past(self, n):
        """Subscribe with a cursor, a time, or the newest of each tag set."""
        past = self.r.choice([
            lambda: f(4, self.number()),
            lambda: b"".join(f(5, self.position()) for _ in range(self.r.choice([1, 2, 40]))),
            lambda: f(6, 1),
            lambda: f(4, self.number()) + f(5, self.junk(60)) + f(6, 1),
        ])()
        return wire.frame(wire.SUBSCRIBE, f(1, self.few()) + f(2, n % 70) + f(3, self.selector()) + past)

    def standing(self):
        body = f(1, self.name()) + f(2, self.few()) + f(3, self.r.choice([1, 2, 16, 17, 0])) + f(4, self.r.randrange(2))
        if self.r.random() < 0.2: body += f(5, 1)
        return wire.frame(STANDBY, body + f(6, self.few()) + f(7, self.few()) + f(8, self.r.randrange(2)))

    def control(self, n):
        """One control frame: well formed with odd numbers, or damaged."""
        r = self.r
        legal = [
            lambda: self.opening(n),
            lambda: subscribe(r.choice([0, 1, n, self.number()]), r.randrange(70), [self.selector() for _ in range(r.randrange(1, 20))]),
            lambda: subscribe(r.randrange(3), r.randrange(3), [self.selector()]),
            lambda: subscribe(r.randrange(8), r.randrange(3), ["*"]),
            lambda: self.of_the_past(n),
            lambda: wire.frame(wire.UNSUBSCRIBE, f(1, r.randrange(3)) + f(2, r.randrange(70))),
            lambda: wire.frame(wire.GRANT, f(1, r.randrange(8)) + f(2, self.number())),
            lambda: wire.frame(wire.CLOSE_RECEIVER, f(1, r.randrange(8))),
            lambda: wire.frame(wire.PING, f(1, self.number())),
            lambda: wire.frame(wire.PONG, f(1, self.number())),
            lambda: wire.frame(ACK, f(1, self.few()) + f(2, r.randrange(4)) + f(3, self.ranges())),
            lambda: wire.frame(ACK, f(1, self.few()) + f(2, r.randrange(1, 3)) + b"".join(f(4, self.ticket()) for _ in range(r.randrange(1, 9)))),
            lambda: wire.frame(MOVE, f(1, self.few()) + f(4, self.number() if r.random() < 0.2 else n)),
            lambda: wire.frame(MEMBER, f(1, self.few()) + f(2, r.randrange(2))),
            self.standing,
            lambda: wire.frame(QUENCHED, f(1, self.few())),
        ]
        odd = [
            lambda: wire.frame(r.choice([0x21, 0x39, 0x45, 0x7F, 0x3FFF]), self.junk()),
            lambda: wire.frame(r.choice([0x48, 0x4A, 0x4C, 0x60, 0x6C, 0x76, 0x1000]), self.junk()),
            lambda: wire.frame(r.choice(OF_THE_ROUTER), self.junk(40)),
            lambda: self.hello(5),
            lambda: self.junk(),
            lambda: wire.integer(r.choice([wire.PING, wire.SUBSCRIBE, ACK])) + wire.integer(self.number()) + self.junk(40),
        ]
        return self.damaged(r.choice(odd if self.odd(0.05) else legal)())

    def hop(self, tag_number, lane=None):
        """A hop header: levels, sent before, recipients, requests, replies, clusters, sets, expiry."""
        r = self.r
        flags = r.choice([0, 0, 1, 2, 3]) | r.choice([0, 0, 0, wire.FLAG_RESENT]) | (r.choice([0x20, 0x40, 0x80, 0x200, 1 << 40]) if self.odd(0.1) else 0)
        if r.random() < 0.2: flags, head = flags | wire.FLAG_INLINE_TAGS, b""
        else: head = wire.integer(tag_number)
        more = f(wire.HOP_TAGS, self.canonical()) if flags & wire.FLAG_INLINE_TAGS else b""
        if r.random() < 0.05: flags, more = flags | wire.FLAG_INLINE_PUBLISHER, more + f(wire.HOP_PUBLISHER, r.randbytes(16) + wire.integer(self.number()))
        else: head += wire.integer(self.number() if self.odd(0.02) else 0)
        if lane is not None: more += f(HOP_LANE_SEQ, lane) if r.random() < 0.3 else b""
        if r.random() < 0.3:
            more += r.choice([
                lambda: f(6, wire.integer(self.number()) + wire.integer(self.few()) + self.name().encode()),
                lambda: f(7, b"".join(f(1, self.name()) for _ in range(17 if self.odd(0.2) else r.choice([1, 2])))),
                lambda: f(7, f(4, self.few()) + f(5, self.number()) + (f(1, self.name()) if r.random() < 0.5 else b"")),
                lambda: f(7, f(3, self.token())),
                lambda: f(7, f(2, self.token()) + f(3, self.token()) + f(4, self.few())),
                lambda: f(8, b"".join(self.fixed64() for _ in range(r.randrange(1, 10)))),
                lambda: f(9, wire.integer(self.number()) + self.canonical()),
                lambda: f(10, self.set_of_run()),
                lambda: f(11, self.number()),
                lambda: f(3, wire.integer(self.few()) + wire.integer(self.number())),
                lambda: f(r.randrange(12, 40), self.junk()),
            ])()
        head = wire.integer(flags) + head + more
        return wire.integer(len(head)) + head

    def set_of_run(self):
        name = self.name().encode()
        seqs = b"".join(wire.integer(self.few() + 1) for _ in range(self.r.choice([0, 1, 3])))
        return wire.integer(self.few()) + wire.integer(len(name)) + name + seqs

    def body(self):
        """A run body, with a floor and times as they may be, or not."""
        r, count = self.r, self.r.randrange(1, 30)
        first = self.number() if self.odd(0.1) else r.choice([self.seq, self.seq, self.seq, max(0, self.seq - r.randrange(40))])
        floor = self.number() if self.odd(0.1) else r.choice([0, 0, min(first, 5)])
        base = self.number() if self.odd(0.1) else time.time_ns()
        out = wire.integer(first) + wire.integer(floor) + wire.integer(base) + wire.integer(self.number() if self.odd(0.05) else count)
        for _ in range(count):
            payload = self.junk(r.choice([1, 10, 300, 9000]))
            out += wire.integer(self.number() if self.odd(0.01) else r.randrange(2)) + wire.integer(len(payload)) + payload
        self.seq += count
        return out

    def published(self):
        """A piece of a publish stream: definitions and runs, some of what is not defined."""
        r, out = self.r, b""
        for _ in range(r.randrange(1, 12)):
            kind = r.random()
            number = self.number() if self.odd(0.02) else r.randrange(4)
            out += wire.define_tags(number, self.canonical())
            if kind < 0.9 or not self.odd(1): out += wire.frame(wire.RUN, self.hop(number) + self.body())
            elif kind < 0.93: out += wire.frame(wire.REPORT)
            elif kind < 0.95: out += wire.frame(wire.GAP, f(1, r.randrange(16)) + f(2, self.number()))
            elif kind < 0.97: out += self.publisher()
            elif kind < 0.98: out += wire.frame(r.choice([DELIVER, CURSOR, REPLAY, MARK, DEFINE_SOURCE, 0x1A, 0x1C]), self.junk())
            else: out += wire.frame(wire.RUN, self.junk())
        return self.damaged(out, 0.02)

    def publisher(self):
        return self.defined(self.few(), self.few(), self.odd(0.5))

    def defined(self, number, index, is_forged):
        """DefinePublisher: of a proven id where there is a secret, unless it is forged."""
        secret = self.r.randbytes(32) if is_forged or not self.secret else self.secret
        publisher = hashlib.sha256(secret + self.identity + index.to_bytes(8, "big")).digest()[:16]
        if is_forged and self.heard.publishers: publisher = self.r.choice(self.heard.publishers)
        body = wire.integer(number) + publisher + wire.integer(self.epoch) + (wire.integer(index) if index or self.r.random() < 0.7 else b"")
        return wire.frame(wire.DEFINE_PUBLISHER, body)

    def publish_head(self):
        return self.junk() if self.odd(0.05) else wire.frame(wire.PUBLISH_PREAMBLE) + self.defined(0, 0, self.odd(0.1))

    # A peer, which has a router's certificate.

    def peer_hello(self, router, incarnation, lane, epoch, advertise, name):
        ids = f(2, router) + f(3, incarnation)
        if self.odd(0.05): ids = f(2, self.fixed64()) + f(3, self.fixed64())
        rest = f(4, self.number() if self.odd(0.05) else self.r.choice([1, 1, 2])) + f(5, lane) + f(6, epoch) + f(7, advertise) + f(9, name) + f(10, "evil")
        listed = FEATURES if self.r.random() < 0.8 else self.r.sample(FEATURES, 8)
        return self.damaged(wire.frame(PEER_HELLO, f(1, 1) + ids + rest + b"".join(f(11, n) for n in listed)), 0.02)

    def interest(self, n):
        r = self.r
        entry = lambda: f(1, self.few() if r.random() < 0.5 else r.randrange(5000)) + f(2, r.randrange(6)) + f(3, self.selector()) + (f(4, self.number()) if r.random() < 0.2 else b"") + (f(5, self.junk(64)) if r.random() < 0.2 else b"") + (f(6, self.member()) if r.random() < 0.2 else b"")
        body = f(1, n) + (f(2, 1) if r.random() < 0.3 else f(6, n - 1 if r.random() < 0.8 else self.number())) + (f(3, 1) if r.random() < 0.1 else b"")
        return wire.frame(INTEREST, body + b"".join(f(4, entry()) for _ in range(r.randrange(20))) + b"".join(f(5, self.few()) for _ in range(r.randrange(3))))

    def member(self):
        return f(1, self.name()) + f(2, self.few()) + f(3, self.r.randrange(10)) + f(4, self.number()) + f(5, self.number()) + f(6, self.r.randrange(2)) + f(7, self.r.randrange(2)) + f(8, self.r.randrange(2))

    def record(self):
        return f(1, self.name()) + f(2, self.number()) + f(3, self.r.randrange(18)) + f(4, self.r.randbytes(16)) + f(5, self.fixed64()) + f(6, self.r.randrange(2)) + f(7, self.name()) + f(8, self.number()) + f(9, self.r.randrange(12))

    def gossip(self, count):
        fake = lambda: f(1, self.fixed64()) + f(2, f"127.0.0.1:{self.r.randrange(1024, 65000)}") + f(3, self.r.randrange(2)) + (f(4, self.fixed64()) + f(5, self.number()) if self.r.random() < 0.2 else b"")
        return wire.frame(PEERS, b"".join(f(1, fake()) for _ in range(count)))

    def mesh(self, n):
        """One frame of a peer."""
        r = self.r
        legal = [
            lambda: self.interest(n),
            lambda: wire.frame(INTEREST_ACK, f(1, self.few()) + b"".join(f(2, self.number()) for _ in range(r.randrange(4))) + (f(3, r.randbytes(16)) if r.random() < 0.3 else b"")),
            lambda: wire.frame(DIGEST, f(1, self.few()) + f(2, self.few()) + f(3, self.number())),
            lambda: wire.frame(INTEREST_REQUEST, f(1, self.few())),
            lambda: self.gossip(r.choice([1, 3, 200])),
            lambda: wire.frame(LOAD, f(1, self.number())),
            lambda: wire.frame(LEG_ACK, f(1, self.ranges()) + f(2, r.randrange(5)) + f(3, r.randrange(4)) + f(4, self.number()) + f(5, self.number()) + f(6, r.randrange(30)) + (f(7, self.ranges()) if r.random() < 0.3 else b"")),
            lambda: wire.frame(TICKETS, f(1, r.randrange(4)) + b"".join(f(2, self.ticket()) for _ in range(r.randrange(9))) + f(3, r.randrange(25))),
            lambda: wire.frame(GROUP_MEMBERS, b"".join(f(1, self.member()) for _ in range(r.choice([1, 5, 300])))),
            lambda: wire.frame(SET_RECORDS, b"".join(f(1, self.record()) for _ in range(r.choice([0, 1, 130]))) + b"".join(f(2, f(1, self.name()) + f(2, r.randbytes(16)) + f(3, self.few())) for _ in range(r.randrange(3))) + (f(3, self.name()) if r.random() < 0.2 else b"")),
            lambda: wire.frame(HISTORY_REQUEST, f(1, self.few()) + f(2, self.selector()) + (f(3, self.position()) if r.random() < 0.5 else f(4, self.number())) + (f(5, 1) if r.random() < 0.1 else b"") + (f(6, 1) if r.random() < 0.2 else b"")),
            lambda: wire.frame(HISTORY_STATE, f(1, self.few()) + f(3, r.randrange(2))),
            lambda: wire.frame(MARK_REQUEST, f(1, n)),
            lambda: wire.frame(HOLD, f(1, self.few()) + b"".join(f(2, r.choice([*self.heard.publishers, r.randbytes(16)])) for _ in range(r.choice([0, 1, 20])))),
            lambda: wire.frame(REPLIES, f(1, self.few()) + f(2, self.number()) + f(3, r.randrange(6)) + f(4, self.token())),
            lambda: wire.frame(wire.PING, f(1, self.number())),
            lambda: wire.frame(wire.GOAWAY, f(1, self.number()) + f(4, self.number())),
        ]
        odd = [
            lambda: wire.frame(r.choice([0x61, 0x8B, 0x3FFF]), self.junk()),
            lambda: wire.frame(r.choice([wire.HELLO, wire.SUBSCRIBE, wire.CREDIT, 0x8A, 0x1000]), self.junk()),
            lambda: self.junk(),
        ]
        data = r.choice(odd)() if self.odd(0.02) else r.choice(legal if r.random() < 0.01 else legal[:-1])()
        return self.damaged(data, 0.01)

    def lane_head(self, epoch):
        first, self.lane_seq = self.few(), 0
        return wire.frame(LANE_PREAMBLE, f(1, first) + f(2, self.number() if self.odd(0.02) else epoch)) + wire.define_publisher(0, self.r.randbytes(16), self.number())

    def carried(self):
        """A piece of a lane's data stream."""
        r, out = self.r, b""
        for _ in range(r.randrange(1, 8)):
            kind, number = r.random(), r.randrange(4)
            out += wire.define_tags(number, self.canonical())
            self.lane_seq += 1
            if kind < 0.85: out += wire.frame(wire.RUN, self.hop(number, self.number() if self.odd(0.05) else self.lane_seq) + self.body())
            elif kind < 0.9: out += wire.frame(wire.GAP, f(1, r.randrange(16)) + f(2, self.number()) + f(3, self.fixed64()))
            elif kind < 0.93: out += wire.frame(MARK, f(1, self.few()) + f(3, r.randrange(2)))
            elif kind < 0.96: out += wire.frame(CURSOR, b"".join(f(1, self.few()) + f(2, self.number()) for _ in range(3)))
            elif kind < 0.98: out += wire.frame(DEFINE_SOURCE, wire.integer(self.few()) + self.fixed64() + self.fixed64() + wire.integer(self.few()))
            elif self.odd(1): out += self.junk()
        return self.damaged(out, 0.01)


class Heard:
    """What routers have told hostile connections: tickets, tokens of requests, ids; a hostile client uses them all."""

    KEPT = 64

    def __init__(self):
        self.tickets, self.tokens, self.routers, self.publishers, self.frames = [], [], [], [], {}

    def keep(self, where, what):
        if what not in where:
            where.append(what)
            del where[:-self.KEPT]

    def control(self, kind, body):
        self.frames[kind] = self.frames.get(kind, 0) + 1
        if kind == wire.WELCOME or kind == PEER_HELLO:
            found = wire.fields(body)
            for number in (2, 3):
                if number in found: self.keep(self.routers, found[number][-1])

    def data(self, kind, body):
        """Tickets and tokens in a run or in its targets; publishers that are defined."""
        self.frames[kind] = self.frames.get(kind, 0) + 1
        if kind == wire.DEFINE_PUBLISHER:
            cursor = wire.Cursor(body)
            cursor.integer()
            self.keep(self.publishers, cursor.take(16))
        if kind not in (wire.RUN, DELIVER): return
        cursor = wire.Cursor(body)
        hop = wire.Cursor(cursor.prefixed())
        flags = hop.integer()
        for inline in (wire.FLAG_INLINE_TAGS, wire.FLAG_INLINE_PUBLISHER):
            if not flags & inline: hop.integer()
        self.fields(wire.fields(hop.rest()), ticket=6, request=7)
        if kind == DELIVER:
            targets = wire.Cursor(cursor.prefixed())
            while not targets.done():
                if targets.integer() & 1: self.fields(wire.fields(targets.prefixed()), ticket=3, request=4)

    def fields(self, found, ticket, request):
        for value in found.get(ticket, []):
            cursor = wire.Cursor(value)
            self.keep(self.tickets, (cursor.integer(), cursor.integer()))
        for value in found.get(request, []):
            for token in wire.fields(value).get(2, []): self.keep(self.tokens, token)
