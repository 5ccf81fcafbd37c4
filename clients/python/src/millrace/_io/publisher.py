"""The publisher of a client: takes events while there is room, and writes them to its router."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable

from .._session.publishing import PublishStream, publisher_id
from .._session.window import Window
from .._wire import control, numbers, runs
from ..errors import MillraceError
from ..items import Outcome
from .session import Session

# Events that are taken before the loop runs: a busy publisher that never lets it read would mistake
# its own deafness for the router's silence.
_TAKEN_PER_TURN = 256


class Publisher:
    """Events with seqs of one epoch, across connections."""

    def __init__(self, secret: bytes, buffer_bytes: int) -> None:
        self._secret = secret
        self._window = Window(secrets.randbits(62), buffer_bytes)
        self._stream: PublishStream | None = None
        self._write: Callable[[bytes], None] = lambda data: None
        self._is_due = False
        self._taken_in_turn = 0
        # Whoever waits for room waits in turn.
        self._turn = asyncio.Lock()
        self._settled = asyncio.Event()
        self._error: MillraceError | None = None

    @property
    def expects_answer(self) -> bool:
        return self._window.expects_answer

    async def send(
        self, tags: bytes, payload: bytes, level: int, min_receivers: int, time_ns: int | None
    ) -> asyncio.Future[Outcome]:
        """Takes an event once there is room, and returns its outcome to come."""
        if len(payload) > runs.PAYLOAD_BYTES_MAX:
            raise ValueError(
                f"a payload of {len(payload)} bytes exceeds the limit of {runs.PAYLOAD_BYTES_MAX}: "
                "publish it in parts, or where it can be fetched"
            )
        size = len(payload) + len(tags) + runs.EVENT_HEAD_BYTES_MAX
        if self._turn.locked() or not self._window.has_room(size):
            async with self._turn:
                while not self._window.has_room(size) and self._error is None:
                    self._settled.clear()
                    await self._settled.wait()
        if self._error:
            raise self._error
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(said: Outcome) -> None:
            if not outcome.done():
                outcome.set_result(said)

        self._window.add(
            tags,
            time.time_ns() if time_ns is None else time_ns,
            payload,
            level,
            min_receivers,
            settle,
        )
        self._pump_soon()
        self._taken_in_turn += 1
        if self._taken_in_turn >= _TAKEN_PER_TURN:
            await asyncio.sleep(0)
        return outcome

    async def flush(self) -> None:
        """Waits until every event has an outcome."""
        while not self._window.is_empty:
            self._settled.clear()
            await self._settled.wait()

    def attach(self, session: Session) -> None:
        """Goes on at a router: what waits is written as its credit allows."""
        self._window.publisher = publisher_id(self._secret, session.welcome.identity)
        self._window.can_confirm = session.has(numbers.FEATURE_CONFIRMS)
        self._stream = PublishStream(self._window, session.welcome.tables)
        # A stream is opened with its first byte: whoever publishes nothing has none.
        self._write = _Lazily(session)
        self._pump_soon()

    async def pause(self, seconds: float) -> None:
        """Writes nothing new until `attach`, and gives what is on its way so long to be settled."""
        self._stream = None
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._answered(), seconds)

    def detach(self) -> None:
        """The connection is gone."""
        self._stream = None
        self._window.connection_lost()
        self._settled.set()

    def credit(self, frame: control.Credit) -> None:
        if self._stream:
            self._stream.credit(frame.bytes)
            self._pump_soon()

    def received(self, frame: control.Received) -> None:
        if frame.publisher == 0:
            self._window.received(frame.next_seq)
            self._settled.set()

    def outcome(self, frame: control.Outcome) -> None:
        if frame.publisher == 0:
            self._window.outcome(frame)
            self._settled.set()

    def end(self, error: MillraceError) -> None:
        """Nothing is taken from here on; what has no outcome is unknown."""
        self._error = error
        self._stream = None
        self._window.give_up()
        self._settled.set()

    async def _answered(self) -> None:
        while self._window.expects_answer:
            self._settled.clear()
            await self._settled.wait()

    def _pump_soon(self) -> None:
        """Writes at the end of this turn of the loop: events that are published together share
        runs.
        """
        if not self._is_due and self._stream:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._is_due = False
        self._taken_in_turn = 0
        while self._stream and not self._window.is_empty and (data := self._stream.take()):
            self._write(data)


class _Lazily:
    """Opens the publish stream when the first byte is written."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stream: Callable[[bytes], None] | None = None

    def __call__(self, data: bytes) -> None:
        if self._stream is None:
            self._stream = self._session.open_publish_stream()
        self._stream(data)
