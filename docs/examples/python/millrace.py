"""A small Millrace client on aioquic: one connection, a publisher, receivers. Written from docs/wire.md.

    async with connect("127.0.0.1:7400", ca="ca.pem") as session:
        receiver = await session.open_receiver()
        await receiver.subscribe(["host=web-*"])
        publisher = await session.publisher()
        await publisher.publish({"host": "web-1"}, [b"up"])
        await publisher.flush()
        print(await receiver.next())

It shows the protocol, not speed: tag sets are numbered until the router's table is full and written inline after that, and
a lost connection raises SessionLost instead of being opened anew.
"""

import asyncio
import collections
import contextlib
import secrets
import socket
import time

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived, StreamReset

import wire

TABLES = (16_384, 2_097_152, 4_096)
WINDOW_BYTES = 1 << 20
LIVE_SECONDS = 1.5
CONNECT_SECONDS = 5.0


class SessionLost(Exception):
    """The connection is gone."""


class Refused(Exception):
    """The router refused a request."""


@contextlib.asynccontextmanager
async def connect(router, ca=None, cert=None, key=None, receivers=16):
    """A session with the router at HOST:PORT; `receivers` is how many may be open at once."""
    host, _, port = router.rpartition(":")
    host = host.strip("[]")
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["millrace/1"],
        server_name=host,
        idle_timeout=30.0,
        max_stream_data=4 * WINDOW_BYTES,
        max_data=16 * WINDOW_BYTES,
    )
    if ca:
        configuration.load_verify_locations(cafile=ca)
    if cert:
        configuration.load_cert_chain(cert, key)
    loop = asyncio.get_running_loop()
    family, _, _, _, address = (await loop.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM))[0]
    session = Session(QuicConnection(configuration=configuration), receivers)
    transport, _ = await loop.create_datagram_endpoint(
        lambda: session, local_addr=("::" if family == socket.AF_INET6 else "0.0.0.0", 0), family=family
    )
    pinger = None
    try:
        session.connect(address)
        connected = asyncio.ensure_future(session.wait_connected())
        connected.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait({connected}, timeout=CONNECT_SECONDS)
        if not connected.done() or connected.exception():
            raise session.lost or SessionLost(f"cannot connect to {router}")
        await session.hello()
        pinger = asyncio.create_task(session.ping_forever())
        yield session
    finally:
        if pinger:
            pinger.cancel()
        session.close()
        await session.wait_closed()
        transport.close()


class Session(QuicConnectionProtocol):
    """One connection: its control stream, and what stands on its other streams."""

    def __init__(self, quic, receivers):
        super().__init__(quic)
        self.receivers_wanted = receivers
        self.control = None
        self.control_frames = wire.FrameReader(wire.CONTROL_FRAME_BYTES_MAX)
        self.streams = {}
        self.receivers = {}
        self.publishing = None
        self.credit = 0
        self.welcome = None
        self.silence = 30.0
        self.heard = time.monotonic()
        self.lost = None
        self.changed = asyncio.Condition()

    # Waiting: whoever waits for something is woken on every change, and looks.

    async def until(self, condition):
        """Waits until `condition()` is true, or the session is lost."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.lost or condition())
        if self.lost and not condition():
            raise self.lost

    def wake(self):
        async def notify():
            async with self.changed:
                self.changed.notify_all()

        asyncio.ensure_future(notify())

    def fail(self, error):
        """This side ends the session: the router sent something wrong."""
        self.lost = SessionLost(str(error))
        self.close(getattr(error, "code", 0x0D), str(error))

    # What arrives.

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            name = wire.CLOSE_CODES.get(event.error_code, hex(event.error_code))
            self.lost = self.lost or SessionLost(f"closed: {name} {event.reason_phrase}".strip())
        elif isinstance(event, StreamDataReceived):
            self.heard = time.monotonic()
            try:
                self.data(event.stream_id, event.data, event.end_stream)
            except wire.Malformed as error:
                self.fail(error)
        elif isinstance(event, StreamReset):
            self.fail(wire.Malformed(f"stream {event.stream_id} was reset", 0x06))
        self.wake()

    def data(self, stream, data, ended):
        if stream == self.control:
            for kind, body in self.control_frames.feed(data):
                self.control_frame(kind, body)
            if ended:
                self.fail(wire.Malformed("the control stream ended", 0x00))
            return
        reader = self.streams.setdefault(stream, DeliverStream(self))
        reader.data(data)

    def control_frame(self, kind, body):
        found = wire.fields(body)
        receiver = self.receivers.get(wire.int_of(found, 1))
        if kind == wire.WELCOME:
            tables = wire.fields(found.get(6, [b""])[-1])
            self.welcome = {
                "version": wire.int_of(found, 1),
                "cores": wire.int_of(found, 4),
                "tables": [wire.int_of(tables, number, TABLES[number - 1]) for number in (1, 2, 3)],
                "receivers_max": wire.int_of(found, 7),
                "silence": wire.int_of(found, 9) / 1e6,
            }
        elif kind == wire.PING:
            self.send(wire.PONG, wire.field(1, wire.int_of(found, 1)))
        elif kind == wire.PONG:
            pass  # It was heard, like everything else.
        elif kind == wire.CREDIT:
            self.credit = max(self.credit, wire.int_of(found, 1))
        elif kind == wire.RECEIVED:
            if self.publishing and wire.int_of(found, 1) == 0:
                self.publishing.received = max(self.publishing.received, wire.int_of(found, 2))
        elif kind == wire.SUBSCRIBED:
            if receiver:
                receiver.stages.setdefault(wire.int_of(found, 2), set()).add(wire.int_of(found, 3))
        elif kind == wire.REFUSED:
            about = self.receivers.get(wire.int_of(found, 2))
            reason = wire.REFUSED_REASONS.get(wire.int_of(found, 1), "?")
            if about:
                about.refused = Refused(f"{reason}: {wire.text_of(found, 4)}")
        elif kind == wire.RECEIVER_CLOSED:
            if receiver:
                receiver.closed = wire.text_of(found, 2) or "closed"
                del self.receivers[receiver.number]
        elif kind == wire.GOAWAY:
            pass  # A client that lives on would move to another router here.
        else:
            wire.skip_unknown(kind)

    # What is sent.

    def send(self, kind, body=b""):
        """Sends one control frame."""
        if self.lost:
            raise self.lost
        self._quic.send_stream_data(self.control, wire.frame(kind, body))
        self.transmit()

    async def hello(self):
        self.control = self._quic.get_next_available_stream_id()
        tables = b"".join(wire.field(number, TABLES[number - 1]) for number in (1, 2, 3))
        hello = [(1, 1), (2, "millrace-python-example/1"), (3, tables), (4, self.receivers_wanted)]
        self.send(wire.HELLO, b"".join(wire.field(number, value) for number, value in hello))
        await self.until(lambda: self.welcome)
        if self.welcome["version"] != 1:
            raise SessionLost(f"the router speaks version {self.welcome['version']}")

    async def ping_forever(self):
        """Shows that this side is alive, and notices when the other is not."""
        limit = self.welcome["silence"] or 30.0
        while not self.lost:
            await asyncio.sleep(min(limit, LIVE_SECONDS) / 3)
            if time.monotonic() - self.heard > LIVE_SECONDS:
                self.fail(wire.Malformed("the router was silent for too long", 0x09))
                self.wake()
                return
            self.send(wire.PING, wire.field(1, secrets.randbits(32)))

    async def publisher(self):
        """The publisher of this connection."""
        if self.publishing is None:
            self.publishing = Publisher(self)
            await self.publishing.write(
                wire.frame(wire.PUBLISH_PREAMBLE)
                + wire.define_publisher(0, self.publishing.id, self.publishing.epoch)
            )
        return self.publishing

    async def open_receiver(self, window=WINDOW_BYTES, policy=0):
        """Opens a receiver: one queue in the router, one stream."""
        number = next(n for n in range(len(self.receivers) + 1) if n not in self.receivers)
        receiver = self.receivers[number] = Receiver(self, number, window)
        values = [(1, number), (2, policy), (5, window)]
        self.send(wire.OPEN_RECEIVER, b"".join(wire.field(n, value) for n, value in values))
        return receiver


class Publisher:
    """Writes runs to the publish stream, as far as the router's credit goes."""

    def __init__(self, session):
        self.session = session
        self.stream = session._quic.get_next_available_stream_id(is_unidirectional=True)
        self.id = secrets.token_bytes(16)
        self.epoch = secrets.randbits(62)
        self.next_seq = 0
        self.received = 0
        self.written = 0
        self.numbers = {}
        self.tag_bytes = 0

    async def write(self, data):
        while data:
            await self.session.until(lambda: self.session.credit > self.written)
            if self.session.lost:
                raise self.session.lost
            piece = data[: self.session.credit - self.written]
            data = data[len(piece) :]
            self.written += len(piece)
            self.session._quic.send_stream_data(self.stream, piece)
            self.session.transmit()
            # A busy publisher must let the loop read, or it mistakes its own deafness for the router's silence.
            await asyncio.sleep(0)

    async def publish(self, tags, payloads, time_ns=None):
        """Publishes payloads (bytes) under one tag set (dict), in runs as large as they may be."""
        canonical, number = wire.tag_set(tags), None
        sets, set_bytes, _ = self.session.welcome["tables"]
        if canonical in self.numbers:
            number = self.numbers[canonical]
        elif len(self.numbers) < sets and self.tag_bytes + len(canonical) <= set_bytes:
            number = self.numbers[canonical] = len(self.numbers)
            self.tag_bytes += len(canonical)
            await self.write(wire.define_tags(number, canonical))
        at, run, size = time_ns or time.time_ns(), [], 26
        for payload in payloads:
            if len(payload) > wire.PAYLOAD_BYTES_MAX:
                raise ValueError(f"a payload has at most {wire.PAYLOAD_BYTES_MAX} bytes")
            size += wire.event_bytes_max(payload)
            if run and (size > wire.RUN_BYTES_MAX or len(run) == wire.RUN_EVENTS_MAX):
                await self.run(number, canonical, run)
                run, size = [], 26 + wire.event_bytes_max(payload)
            run.append((at, payload))
        if run:
            await self.run(number, canonical, run)

    async def run(self, number, canonical, events):
        first_seq, self.next_seq = self.next_seq, self.next_seq + len(events)
        inline = canonical if number is None else None
        await self.write(wire.run(number, 0, first_seq, events, inline))

    async def flush(self):
        """Waits until the router has read everything that was published."""
        await self.session.until(lambda: self.received >= self.next_seq)


class DeliverStream:
    """A stream that the router opened: a preamble that names the receiver, then that receiver's frames."""

    def __init__(self, session):
        self.session = session
        self.frames = wire.FrameReader(wire.DATA_FRAME_BYTES_MAX)
        self.receiver = None
        self.arrived = 0
        self.preamble_bytes = 0
        self.tables = wire.Tables(*TABLES)

    def data(self, data):
        self.arrived += len(data)
        for kind, body in self.frames.feed(data):
            if self.receiver is None:
                number = wire.int_of(wire.fields(body), 1)
                if kind != wire.DELIVER_PREAMBLE or number not in self.session.receivers:
                    raise wire.Malformed("a stream without a receiver", 0x06)
                self.receiver = self.session.receivers[number]
                self.preamble_bytes = len(wire.frame(kind, body))
            elif kind == wire.RUN:
                self.receiver.queue.extend(self.tables.run(body))
            elif kind == wire.DEFINE_TAGS:
                self.tables.define_tags(body)
            elif kind == wire.DEFINE_PUBLISHER:
                self.tables.define_publisher(body)
            elif kind == wire.GAP:
                self.receiver.queue.append(gap(body))
            else:
                wire.skip_unknown(kind)
        if self.receiver:
            self.receiver.arrived = self.arrived - self.preamble_bytes
            self.receiver.grant()


def gap(body):
    found = wire.fields(body)
    router = found.get(3, [b""])[-1]
    return {
        "gap": wire.GAP_REASONS.get(wire.int_of(found, 1, 1), "?"),
        "events": wire.int_of(found, 2),
        "router": router.hex() or None,
    }


class Receiver:
    """One receiver: `queue` holds events and gaps (dicts) that were not taken yet."""

    def __init__(self, session, number, window):
        self.session, self.number, self.window = session, number, window
        self.granted, self.arrived = window, 0
        self.queue, self.stages = collections.deque(), {}
        self.refused = self.closed = None

    async def subscribe(self, selectors, subscription=0, stage=2):
        """Subscribes, and waits until it is effective: stage 1 on this router, 2 in the cluster."""
        self.stages.pop(subscription, None)
        body = wire.field(1, self.number) + wire.field(2, subscription)
        body += b"".join(wire.field(3, selector) for selector in selectors)
        self.session.send(wire.SUBSCRIBE, body)
        await self.session.until(lambda: self.refused or stage in self.stages.get(subscription, ()))
        if self.refused:
            refused, self.refused = self.refused, None
            raise refused

    async def next(self):
        """The next event, or a gap (which has the key `gap`); None when the receiver was closed."""
        await self.session.until(lambda: self.queue or self.closed or self.refused)
        if self.refused:
            raise self.refused
        if not self.queue:
            return None
        item = self.queue.popleft()
        self.grant()
        return item

    def grant(self):
        """Lets more bytes come once all that arrived was taken, the start of an incomplete frame included."""
        if not self.queue and self.arrived + self.window // 2 > self.granted:
            self.granted = self.arrived + self.window
            self.session.send(wire.GRANT, wire.field(1, self.number) + wire.field(2, self.granted))

    def close(self):
        self.session.send(wire.CLOSE_RECEIVER, wire.field(1, self.number))
