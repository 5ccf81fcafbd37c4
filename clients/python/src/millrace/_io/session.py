"""A session with one router: greeting, liveness, and who gets what arrives."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from typing import Any

from .._session.attachment import Address
from .._wire import control, numbers
from .._wire.codec import CONTROL_FRAME_BYTES_MAX, Fields, FrameReader, Malformed
from ..config import Config
from ..errors import Disconnected
from .link import Link

logger = logging.getLogger("millrace")

# Receivers on one connection.
RECEIVERS_MAX = 64
# What this client reads: shown in Hello.
FEATURES = (
    numbers.FEATURE_PROOF,
    numbers.FEATURE_CONFIRMS,
    numbers.FEATURE_HISTORY,
    numbers.FEATURE_GROUPS,
)
SOFTWARE = "millrace-python/0.1.0"
# Silence after which a connection is given up on which nothing is expected.
_IDLE_SECONDS = 30.0
# Credit comes behind the Welcome; nothing else is due before the client asks.
_EARLY_FRAMES_MAX = 16
# A preamble is one small frame; the rest of the chunk belongs to the stream.
_PREAMBLE_BYTES_MAX = 256
# Pings by which a round trip is measured: a busy process makes a single one long.
_ROUND_TRIPS = 3

Sink = Callable[[bytes], None]


class Session:
    """One greeted connection; `begin` says who gets what arrives."""

    def __init__(self, address: Address, config: Config) -> None:
        self.address = address
        self._config = config
        self._link = Link(config.quic(address), self._data, self._end)
        self._control = -1
        self._frames = FrameReader(CONTROL_FRAME_BYTES_MAX)
        self._preambles: dict[int, bytearray] = {}
        self._sinks: dict[int, Sink] = {}
        self._greeted: asyncio.Future[control.Welcome] = asyncio.get_running_loop().create_future()
        self._pings: asyncio.Task[None] | None = None
        self.endpoint: tuple[str, int] = ("", 0)
        self.welcome: control.Welcome
        self.leave: asyncio.Future[control.Goaway] = asyncio.get_running_loop().create_future()
        """The router asks the client to go elsewhere."""
        # Frames that came behind the Welcome, before anybody attached.
        self._early: list[control.Frame] = []
        self._asked: tuple[int, asyncio.Future[None]] | None = None
        self._on_frame: Callable[[control.Frame], None] = self._keep
        self._on_stream: Callable[[int], Sink] = lambda receiver: lambda data: None
        self._expects: Callable[[], bool] = lambda: False

    @property
    def lost(self) -> asyncio.Future[Disconnected]:
        """Ends with the reason when the connection is gone."""
        return self._link.lost

    def has(self, feature: int) -> bool:
        """Whether the router lists a feature."""
        return feature in self.welcome.features

    async def greet(self, endpoint: tuple[str, int], family: int, secret: bytes) -> None:
        """Connects and says Hello; Disconnected when there is no Welcome."""
        self.endpoint = endpoint
        link = self._link
        await link.dial(endpoint, family)
        await _first(link.ready, link.lost)
        if link.lost.done():
            raise link.lost.result()
        self._control = link.open_stream()
        config = self._config
        hello = control.hello(
            SOFTWARE, RECEIVERS_MAX, secret, config.token, config.zone, FEATURES
        )
        link.write(self._control, hello)
        await _first(self._greeted, link.lost)
        if not self._greeted.done():
            raise link.lost.result()
        self.welcome = self._greeted.result()
        if self.welcome.version != numbers.VERSION:
            raise Disconnected("version", f"the router speaks version {self.welcome.version}")
        self._pings = asyncio.create_task(self._ping_forever())

    async def round_trip(self) -> float:
        """Seconds that a ping and its answer take, the shortest of a few; Disconnected when the
        connection is lost meanwhile.
        """
        loop = asyncio.get_running_loop()
        shortest = float("inf")
        for _ in range(_ROUND_TRIPS):
            nonce, answered = secrets.randbits(32), loop.create_future()
            self._asked = (nonce, answered)
            began = loop.time()
            self.send(control.ping(nonce))
            await _first(answered, self.lost)
            if not answered.done():
                raise self.lost.result()
            shortest = min(shortest, loop.time() - began)
        return shortest

    def begin(
        self,
        on_frame: Callable[[control.Frame], None],
        on_stream: Callable[[int], Sink],
        expects: Callable[[], bool],
    ) -> None:
        """Hands frames to `on_frame` from here on, and the streams of receivers to what `on_stream`
        returns; `expects` says whether the router owes this client something.
        """
        self._on_frame, self._on_stream, self._expects = on_frame, on_stream, expects
        early, self._early = self._early, []
        try:
            for frame in early:
                on_frame(frame)
        except Malformed as error:
            self.close(error.code, str(error))

    def send(self, *frames: bytes) -> None:
        """Writes control frames."""
        self._link.write(self._control, b"".join(frames))

    def open_publish_stream(self) -> Sink:
        """The publish stream, of which there is one."""
        stream = self._link.open_stream(is_unidirectional=True)
        return lambda data: self._link.write(stream, data)

    def close(self, code: int = 0x00, reason: str = "") -> None:
        """Ends the session."""
        if self._pings:
            self._pings.cancel()
        self._link.close(code, reason)

    # What arrives.

    def _data(self, stream: int, data: bytes) -> None:
        try:
            if stream == self._control:
                for kind, body, _ in self._frames.feed(data):
                    self._frame(kind, body)
            elif stream in self._sinks:
                self._sinks[stream](data)
            else:
                self._preamble(stream, data)
        except Malformed as error:
            self.close(error.code, str(error))
        except Exception as error:
            logger.exception("a defect of the client: please report it")
            self.close(0x0D, f"a defect of the client: {error!r}")

    def _end(self, stream: int) -> None:
        """A stream has ended: nothing is kept for it."""
        self._preambles.pop(stream, None)
        self._sinks.pop(stream, None)
        if stream == self._control:
            self.close(0x06, "the router has ended the control stream")

    def _frame(self, kind: int, body: bytes) -> None:
        frame = control.decode(kind, body)
        match frame:
            case control.Welcome():
                if not self._greeted.done():
                    self._greeted.set_result(frame)
            case control.Ping():
                self.send(control.pong(frame.nonce))
            case control.Goaway():
                if not self.leave.done():
                    self.leave.set_result(frame)
            case control.Pong():
                if self._asked and self._asked[0] == frame.nonce and not self._asked[1].done():
                    self._asked[1].set_result(None)
            case None:
                pass
            case _:
                self._on_frame(frame)

    def _keep(self, frame: control.Frame) -> None:
        if len(self._early) == _EARLY_FRAMES_MAX:
            raise Malformed("too many frames before anything was asked", 0x03)
        self._early.append(frame)

    def _preamble(self, stream: int, data: bytes) -> None:
        """The first frame of a stream that the router opened: it names the receiver."""
        begun = self._preambles.setdefault(stream, bytearray())
        begun += data
        reader = FrameReader(_PREAMBLE_BYTES_MAX)
        for kind, body, size in reader.feed(bytes(begun)):
            if kind != numbers.DELIVER_PREAMBLE:
                raise Malformed("a stream that is no receiver's", 0x06)
            del self._preambles[stream]
            sink = self._sinks[stream] = self._on_stream(Fields(body).number(1))
            if len(begun) > size:
                sink(bytes(begun[size:]))
            return

    async def _ping_forever(self) -> None:
        """Shows that this side is alive, and notices when the other is not."""
        loop = asyncio.get_running_loop()
        tick = self._config.silence / 3
        limit = _IDLE_SECONDS
        # Silence counts from here on: since the limit is what it is, something was asked of the
        # router.
        limited_at = pinged_at = loop.time()
        while not self.lost.done():
            began = loop.time()
            await asyncio.sleep(tick)
            now = loop.time()
            before, limit = limit, self._config.silence if self._expects() else _IDLE_SECONDS
            if limit != before:
                limited_at = now
            # An application that holds the loop up makes this side deaf: that is no silence of the
            # router.
            was_deaf = now - began > 2 * tick
            if now - max(self._link.heard, limited_at) > limit and not was_deaf:
                self.close(0x09, f"nothing was heard for {limit:g} s")
                return
            if limit != before or now - pinged_at >= min(limit, self.welcome.silence or limit) / 3:
                self.send(control.ping(secrets.randbits(32)))
                pinged_at = now


async def _first(*futures: asyncio.Future[Any]) -> None:
    """Waits until one of them is done."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def endpoints(address: Address) -> list[tuple[tuple[str, int], int]]:
    """The addresses behind a router's name, with their families."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    return list(
        dict.fromkeys(
            ((str(where[0]), int(where[1])), int(family)) for family, _, _, _, where in found
        )
    )
