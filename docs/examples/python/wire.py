"""The bytes of Millrace: integers, fields, frames, tag sets, runs. Written from docs/wire.md; no I/O.

Encoders return bytes, decoders raise Malformed on anything a router would not send.
"""

INTEGER_MAX = 2**62 - 1
CONTROL_FRAME_BYTES_MAX = 65_536
DATA_FRAME_BYTES_MAX = 1_094_033
PAYLOAD_BYTES_MAX = 1_048_576
RUN_BYTES_MAX = 1_048_832
RUN_EVENTS_MAX = 4_096

HELLO, WELCOME, PING, PONG, GOAWAY, CREDIT, RECEIVED = 0x20, 0x22, 0x24, 0x26, 0x28, 0x2A, 0x2C
OPEN_RECEIVER, SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBED, REFUSED = 0x34, 0x36, 0x38, 0x3A, 0x3C
GRANT, CLOSE_RECEIVER, RECEIVER_CLOSED = 0x3E, 0x40, 0x42
PUBLISH_PREAMBLE, DELIVER_PREAMBLE = 0x50, 0x52
DEFINE_TAGS, DEFINE_PUBLISHER, RUN, GAP = 0x10, 0x12, 0x14, 0x16

FLAG_INLINE_TAGS, FLAG_INLINE_PUBLISHER, FLAG_RESENT, FLAG_MAYBE_DUPLICATE = 4, 8, 16, 32
HOP_TAGS, HOP_PUBLISHER, HOP_MATCHED = 1, 2, 5

GAP_REASONS = {
    1: "overflow",
    2: "router_lost",
    3: "lane_overflow",
    4: "mailbox_overflow",
    5: "joined",
    6: "session_lost",
    7: "too_large",
}
REFUSED_REASONS = {1: "selector", 2: "limit", 3: "forbidden", 4: "receiver", 5: "unsupported"}
STAGES = {1: "router", 2: "cluster"}
CLOSE_CODES = {
    0x00: "done",
    0x01: "going_away",
    0x02: "malformed",
    0x03: "limit",
    0x04: "unknown_frame",
    0x05: "version",
    0x06: "unexpected",
    0x07: "forbidden",
    0x08: "busy",
    0x09: "timeout",
    0x0A: "replaced",
    0x0B: "my_own_address",
    0x0C: "overflow",
    0x0D: "internal",
}


class Malformed(Exception):
    """Bytes that cannot be decoded; `code` is what the connection is closed with."""

    def __init__(self, message, code=0x02):
        super().__init__(message)
        self.code = code


def integer(value):
    """An integer in its shortest form."""
    for size, bits in ((1, 6), (2, 14), (4, 30), (8, 62)):
        if value < 1 << bits:
            top = {1: 0, 2: 1, 4: 2, 8: 3}[size] << (size * 8 - 2)
            return (value | top).to_bytes(size, "big")
    raise ValueError(f"{value} does not fit 62 bits")


def peek_integer(data, at):
    """The integer at `at` and where it ends, or None when bytes are missing."""
    if at >= len(data):
        return None
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        return None
    return int.from_bytes(data[at : at + size], "big") & ((1 << (size * 8 - 2)) - 1), at + size


class Cursor:
    """Takes values off the front of some bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def integer(self):
        found = peek_integer(self.data, self.at)
        if found is None:
            raise Malformed("truncated")
        value, self.at = found
        return value

    def take(self, size):
        if self.at + size > len(self.data):
            raise Malformed("truncated")
        self.at += size
        return bytes(self.data[self.at - size : self.at])

    def prefixed(self):
        return self.take(self.integer())

    def rest(self):
        return self.take(len(self.data) - self.at)

    def done(self):
        return self.at == len(self.data)


def field(number, value):
    """One field: an int, a text, or bytes."""
    if isinstance(value, int):
        value = integer(value)
    elif isinstance(value, str):
        value = value.encode()
    return integer(number) + integer(len(value)) + value


def fields(body):
    """All fields of a body: number -> list of values, as bytes."""
    found, cursor = {}, Cursor(body)
    while not cursor.done():
        number = cursor.integer()
        found.setdefault(number, []).append(cursor.prefixed())
    return found


def int_of(found, number, default=0):
    """The last value of an integer field."""
    if number not in found:
        return default
    cursor = Cursor(found[number][-1])
    value = cursor.integer()
    if not cursor.done():
        raise Malformed(f"field {number}")
    return value


def texts_of(found, number):
    """All values of a text field."""
    try:
        return [value.decode() for value in found.get(number, [])]
    except UnicodeDecodeError as error:
        raise Malformed(f"field {number}: {error}") from error


def text_of(found, number):
    """The last value of a text field."""
    return (texts_of(found, number) or [""])[-1]


def frame(kind, body=b""):
    return integer(kind) + integer(len(body)) + body


class FrameReader:
    """Cuts a stream, which arrives in pieces of any size, into frames."""

    def __init__(self, body_max):
        self.body_max, self.pending = body_max, bytearray()

    def feed(self, data):
        """Yields (type, body) of every frame that is complete."""
        self.pending += data
        at = 0
        while True:
            kind = peek_integer(self.pending, at)
            length = kind and peek_integer(self.pending, kind[1])
            if not length:
                break
            size, start = length
            if size > self.body_max:
                raise Malformed("a frame exceeds its limit", 0x03)
            if start + size > len(self.pending):
                break
            at = start + size
            yield kind[0], bytes(self.pending[start:at])
        del self.pending[:at]


def skip_unknown(kind):
    """Unknown frames: odd ones are skipped, even ones are not."""
    if kind % 2 == 0:
        raise Malformed(f"unknown frame {kind:#x}", 0x04)


def tag_set(tags):
    """The canonical form of a dict of tags."""
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/")
    if len(tags) > 32:
        raise ValueError("a tag set has at most 32 tags")
    out = integer(len(tags))
    for key in sorted(tags):
        value = tags[key].encode()
        if not 1 <= len(key) <= 128 or not set(key) <= allowed:
            raise ValueError(f"tag key {key!r}")
        if len(value) > 1024 or any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in tags[key]):
            raise ValueError(f"value of tag {key!r}")
        out += integer(len(key)) + key.encode() + integer(len(value)) + value
    return out


def tags_of(canonical):
    """The dict of tags in canonical bytes."""
    cursor, tags = Cursor(canonical), {}
    try:
        for _ in range(cursor.integer()):
            key = cursor.prefixed().decode()
            tags[key] = cursor.prefixed().decode()
        if cursor.done() and tag_set(tags) == canonical:
            return tags
    except ValueError as error:
        raise Malformed(f"tag set: {error}") from error
    raise Malformed("tag set")


def define_tags(number, canonical):
    return frame(DEFINE_TAGS, integer(number) + canonical)


def define_publisher(number, publisher, epoch):
    return frame(DEFINE_PUBLISHER, integer(number) + publisher + integer(epoch))


def event_bytes_max(payload):
    """Bytes that an event takes in a run, at most."""
    return 8 + 4 + len(payload)


def run(tags_number, publisher_number, first_seq, events, canonical=None):
    """A run of (time in ns, payload); with `canonical`, the tag set stands in the frame itself."""
    base = min(time for time, _ in events)
    body = integer(first_seq) + integer(0) + integer(base) + integer(len(events))
    for time, payload in events:
        body += integer(time - base) + integer(len(payload)) + payload
    if canonical is None:
        hop = integer(0) + integer(tags_number) + integer(publisher_number)
    else:
        hop = integer(FLAG_INLINE_TAGS) + integer(publisher_number) + field(HOP_TAGS, canonical)
    return frame(RUN, integer(len(hop)) + hop + body)


def publisher_of(data):
    cursor = Cursor(data)
    publisher, epoch = cursor.take(16), cursor.integer()
    if not cursor.done():
        raise Malformed("publisher")
    return publisher, epoch


class Tables:
    """What the numbers of one stream stand for."""

    def __init__(self, tag_sets, tag_bytes, publishers):
        self.limits = tag_sets, tag_bytes, publishers
        self.tags, self.publishers, self.sizes = {}, {}, {}

    def define_tags(self, body):
        cursor = Cursor(body)
        number, canonical = cursor.integer(), cursor.rest()
        self.sizes[number] = len(canonical)
        if number >= self.limits[0] or sum(self.sizes.values()) > self.limits[1]:
            raise Malformed("more tag sets than announced", 0x03)
        self.tags[number] = tags_of(canonical)

    def define_publisher(self, body):
        cursor = Cursor(body)
        number = cursor.integer()
        if number >= self.limits[2]:
            raise Malformed("more publishers than announced", 0x03)
        self.publishers[number] = publisher_of(cursor.rest())

    def run(self, body):
        """Yields the events of a run frame, as dicts."""
        cursor = Cursor(body)
        hop = Cursor(cursor.prefixed())
        flags = hop.integer()
        tags_number = None if flags & FLAG_INLINE_TAGS else hop.integer()
        publisher_number = None if flags & FLAG_INLINE_PUBLISHER else hop.integer()
        optional = fields(hop.rest())
        try:
            tags = tags_of(optional[HOP_TAGS][-1]) if tags_number is None else self.tags[tags_number]
            if publisher_number is None:
                publisher, epoch = publisher_of(optional[HOP_PUBLISHER][-1])
            else:
                publisher, epoch = self.publishers[publisher_number]
        except KeyError as error:
            raise Malformed(f"number or field {error} was never defined") from error
        subscriptions, matched = [], Cursor(optional.get(HOP_MATCHED, [b""])[-1])
        while not matched.done():
            subscriptions.append(matched.integer())
        first_seq, _, base, count = (cursor.integer() for _ in range(4))
        for seq in range(first_seq, first_seq + count):
            time = base + cursor.integer()
            yield {
                "publisher": publisher.hex(),
                "epoch": epoch,
                "seq": seq,
                "time_ns": time,
                "tags": tags,
                "payload": cursor.prefixed(),
                "subscriptions": subscriptions or [0],
                "maybe_duplicate": bool(flags & FLAG_MAYBE_DUPLICATE),
            }
        if not cursor.done():
            raise Malformed("run")
