"""The client: attaches to a router and comes back to one, publishes, opens receivers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

from ._io.finding import find
from ._io.placing import Placing
from ._io.publisher import Publisher
from ._io.session import RECEIVERS_MAX, Session, Sink
from ._session.attachment import Attachment
from ._wire import control, numbers
from ._wire.tags import canonical_of
from .config import Config
from .cursor import Cursor
from .errors import Closed, ConnectError, Disconnected, MillraceError, Refused
from .items import Level, Outcome
from .receiver import Acknowledge, Options, Policy, Receiver

__all__ = ["Client", "connect"]

logger = logging.getLogger("millrace")

# How often a client that is attached to a router of a further level tries those before it.
_RETURN_SECONDS = 30.0
# How long what is on its way may take before a client moves to another router.
_MOVE_SECONDS = 2.0


class Client:
    """A client of a cluster. Made by `connect`; one per program is enough."""

    def __init__(self, config: Config, buffer_bytes: int) -> None:
        self._config = config
        # Proves this client's publisher id; shown to routers, never logged.
        self._secret = secrets.token_bytes(32)
        self._attachment = Attachment(config.levels, config.pause_max, zone=config.zone)
        self._placing = Placing(config, self._secret, self._attachment)
        self._publisher = Publisher(self._secret, buffer_bytes)
        self._receivers: list[Receiver] = []
        self._by_number: dict[int, Receiver] = {}
        self._next_number = 0
        self._connection = 0
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed: MillraceError | None = None

    # Publishing.

    async def publish(
        self,
        tags: Mapping[str, str],
        payload: bytes | str,
        *,
        level: Level = "routed",
        min_receivers: int = 0,
        time_ns: int | None = None,
    ) -> Outcome:
        """Publishes an event, and returns what became of it.

        A lost connection is no error: an event with a level is sent again, under its id, until it
        has an outcome. With `min_receivers`, fewer receivers are no confirmation. ValueError: the
        tags or the payload cannot be an event's. Closed: the client is closed.
        """
        return await (
            await self.send(
                tags, payload, level=level, min_receivers=min_receivers, time_ns=time_ns
            )
        )

    async def send(
        self,
        tags: Mapping[str, str],
        payload: bytes | str,
        *,
        level: Level = "routed",
        min_receivers: int = 0,
        time_ns: int | None = None,
    ) -> asyncio.Future[Outcome]:
        """Takes an event, waiting while the buffer is full, and returns its outcome to come.

        Events that are sent without waiting for each outcome share packets: this is the fast way.
        """
        if level not in numbers.LEVELS:
            raise ValueError(f"level {level!r}: write one of {', '.join(numbers.LEVELS)}")
        data = payload.encode() if isinstance(payload, str) else payload
        return await self._publisher.send(
            canonical_of(tags), data, numbers.LEVELS[level], min_receivers, time_ns
        )

    async def publish_many(
        self,
        tags: Mapping[str, str],
        payloads: Iterable[bytes | str],
        *,
        level: Level = "routed",
        min_receivers: int = 0,
    ) -> list[Outcome]:
        """Publishes events of one tag set, and returns their outcomes in the order of the
        payloads.
        """
        sent = [
            await self.send(tags, payload, level=level, min_receivers=min_receivers)
            for payload in payloads
        ]
        return [await outcome for outcome in sent]

    async def flush(self) -> None:
        """Waits until every event that was taken has an outcome."""
        await self._publisher.flush()

    # Receiving.

    def subscribe(
        self,
        *selectors: str,
        since: float | timedelta | None = None,
        cursor: Cursor | str | None = None,
        last: bool = False,
        group: str | None = None,
        level: int = 1,
        exclusive: bool = False,
        max_inflight: int = 0,
        acknowledge: Acknowledge = "taken",
        policy: Policy = "drop-oldest",
        queue_bytes: int = 0,
        linger: float = 0.0,
    ) -> Receiver:
        """A receiver of the events that any of the selectors matches; "*" is every event.

        `since`: what arrived at routers so many seconds ago, and since then, comes first; `cursor`:
        what is new since an earlier receiver; `last`: the newest event of each tag set. They need
        routers that keep history.
        `group`: one member of the group gets each event, those of the lowest `level` first;
        `exclusive`: always the same one; `max_inflight`: events without an acknowledgement (0: the
        router's setting). `acknowledge="explicit"`: call `Receiver.acknowledge` for each event.
        `queue_bytes`: the router's queue (0: its setting), and `policy` what it does when that is
        full. `linger`: seconds for which the router may gather events.
        """
        if self._closed:
            raise self._closed
        if len(self._receivers) == RECEIVERS_MAX:
            raise ValueError(
                f"a client has at most {RECEIVERS_MAX} receivers: connect another client"
            )
        if policy not in numbers.POLICIES:
            raise ValueError(f"policy {policy!r}: write one of {', '.join(numbers.POLICIES)}")
        membership = None
        if group is not None:
            if not 1 <= len(group.encode()) <= 64 or not 1 <= level <= 8:
                raise ValueError("a group's name has 1 to 64 bytes, and its levels are 1 to 8")
            membership = control.Membership(group, level, max_inflight, exclusive)
        seconds = since.total_seconds() if isinstance(since, timedelta) else since
        options = Options(policy, queue_bytes, linger, seconds, last, membership, acknowledge)
        begin = Cursor.parse(cursor) if isinstance(cursor, str) else cursor
        receiver = Receiver(selectors, options, begin, self._receiver_ended)
        self._receivers.append(receiver)
        if self._session:
            self._open(receiver, self._session)
        return receiver

    # Life.

    @property
    def router(self) -> str | None:
        """The router that the client is attached to; None while it has none."""
        return str(self._session.address) if self._session else None

    async def close(self, timeout: float = 5.0) -> None:
        """Waits up to `timeout` seconds for outcomes, and closes; what has none then is unknown."""
        if self._closed:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.flush(), timeout)
        for receiver in list(self._receivers):
            await receiver.close()
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._session:
            self._session.close(0x00, "done")
            self._session = None
        self._end(Closed("the client is closed: connect again"))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Finds the first router; `connect` calls it."""
        self._attach(await self._placing.settle(await self._find(self._config.connect_within)))
        self._task = asyncio.create_task(self._live())

    # Within: where to be.

    async def _live(self) -> None:
        """Stays attached until the client is closed, or nothing can succeed any more."""
        try:
            while self._session:
                moved = await self._stay(self._session)
                self._detach()
                self._attach(moved or await self._placing.settle(await self._find(None)))
        except (MillraceError, ValueError) as error:
            logger.error("the client gives up: %s", error)
            self._end(Closed(f"the client gave up: {error}"))
        except Exception as error:
            # Nobody else would hear of it, and every call would wait for ever.
            logger.exception("a defect of the client: please report it")
            self._end(Closed(f"a defect of the client, please report it: {error!r}"))

    async def _find(self, within: float | None) -> Session:
        """The next session; with a limit in seconds, ConnectError after that."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            tried: list[str] = []
            session = await find(self._attachment.round(), self._config, self._secret, tried)
            if session:
                return session
            if within is not None and loop.time() - began >= within:
                raise ConnectError(tried)
            logger.warning("no router was reached: %s", "; ".join(tried))
            await asyncio.sleep(self._attachment.pause())

    async def _stay(self, session: Session) -> Session | None:
        """Ends when the session is lost (None), or with the session to move to."""
        better = self._attachment.better(session.address)
        is_abroad = self._placing.is_abroad(session)
        while not session.lost.done():
            pause = None
            if better or is_abroad:
                # Half of it at least, because clients that came together are not to go together.
                pause = _RETURN_SECONDS * random.uniform(0.5, 1.0)
            was_asked = session.leave.done()
            waited: list[asyncio.Future[Any]] = (
                [session.lost] if was_asked else [session.lost, session.leave]
            )
            await asyncio.wait(waited, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            candidates, avoid = better, None
            if session.leave.done() and not was_asked and not session.lost.done():
                goaway = session.leave.result()
                logger.info("router %s asks to be left: %s", session.address, goaway.reason)
                self._attachment.learn(goaway.alternates, goaway.alternate_zones)
                await asyncio.wait({session.lost}, timeout=goaway.delay)
                candidates, avoid = self._attachment.round(), session.endpoint
            if session.lost.done():
                break
            new = None
            with contextlib.suppress(MillraceError):
                if candidates:
                    new = await find(candidates, self._config, self._secret, [], avoid)
                    new = new and await self._placing.settle(new, avoid)
                elif is_abroad:
                    new = await self._placing.way_home()
            if new:
                try:
                    await self._publisher.pause(_MOVE_SECONDS)
                except BaseException:
                    new.close()
                    raise
                session.close(0x00, "moved")
                return new
        logger.warning("the connection to %s is lost: %s", session.address, session.lost.result())
        return None

    def _attach(self, session: Session) -> None:
        self._session = session
        self._connection += 1
        self._next_number = 0
        self._attachment.settled()
        logger.info("attached to router %s", session.address)
        self._publisher.attach(session)
        session.begin(self._frame, self._stream, self._expects)
        for receiver in list(self._receivers):
            self._open(receiver, session)

    def _expects(self) -> bool:
        """Whether the router owes this client something."""
        return bool(self._receivers) or self._publisher.expects_answer

    def _detach(self) -> None:
        self._session = None
        self._by_number.clear()
        self._publisher.detach()
        for receiver in self._receivers:
            receiver.detach()

    def _end(self, error: MillraceError) -> None:
        self._closed = error
        self._publisher.end(error)
        for receiver in list(self._receivers):
            receiver.fail(error)

    # Within: what arrives.

    def _open(self, receiver: Receiver, session: Session) -> None:
        """Gives a receiver a number in turn, because streams of earlier ones may still be on their
        way. Without a free one it waits until the router says that a receiver is closed.
        """
        limit = min(session.welcome.receivers_max, RECEIVERS_MAX)
        if len(self._receivers) > limit:
            receiver.fail(Refused("limit", f"the router carries {limit} receivers on a connection"))
        if len(self._by_number) >= limit:
            return
        while self._next_number in self._by_number:
            self._next_number = (self._next_number + 1) % limit
        number, self._next_number = self._next_number, (self._next_number + 1) % limit
        self._by_number[number] = receiver
        receiver.attach(session, number, self._connection)

    def _frame(self, frame: control.Frame) -> None:
        match frame:
            case control.Credit():
                self._publisher.credit(frame)
            case control.Received():
                self._publisher.received(frame)
            case control.Outcome():
                self._publisher.outcome(frame)
            case control.Subscribed():
                if receiver := self._by_number.get(frame.receiver):
                    receiver.subscribed(frame)
            case control.Refused(is_about_publisher=True):
                logger.warning(
                    "the router drops events of this client: %s (%s)", frame.reason, frame.message
                )
            case control.Refused():
                if receiver := self._by_number.get(frame.receiver):
                    error = Refused(frame.reason, frame.message)
                    if frame.subscription is not None:
                        receiver.refused(frame.subscription, error)
                    else:
                        receiver.fail(error)
                        self._freed(frame.receiver)
            case control.ReceiverClosed():
                if receiver := self._by_number.get(frame.receiver):
                    receiver.fail(Disconnected("receiver closed", frame.reason))
                    self._freed(frame.receiver)

    def _freed(self, number: int) -> None:
        """A number is free: a receiver that waits for one gets it."""
        del self._by_number[number]
        opened = self._by_number.values()
        waiting = [receiver for receiver in self._receivers if receiver not in opened]
        if waiting and self._session:
            self._open(waiting[0], self._session)

    def _stream(self, number: int) -> Sink:
        receiver, connection = self._by_number.get(number), self._connection
        return (lambda data: receiver.feed(connection, data)) if receiver else (lambda data: None)

    def _receiver_ended(self, receiver: Receiver) -> None:
        """Its number stays taken until the router says that it is closed."""
        with contextlib.suppress(ValueError):
            self._receivers.remove(receiver)


class _Connecting:
    """What `connect` returns: to be awaited, or entered with `async with`."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._client: Client | None = None

    async def _start(self) -> Client:
        client = self._client = self._make()
        await client.start()
        return client

    def __await__(self) -> Generator[object, None, Client]:
        return self._start().__await__()

    async def __aenter__(self) -> Client:
        return await self._start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client:
            await self._client.close()


def connect(
    router: str | None = None,
    *,
    ca: str | os.PathLike[str] | None = None,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    token: str | None = None,
    server_name: str | None = None,
    connect_timeout: float = 5.0,
    connect_within: float = 0.0,
    zone: str | None = None,
    nearest: bool = True,
    buffer_bytes: int = 1 << 20,
) -> _Connecting:
    """Connects to a cluster: `async with connect(…) as client`, or `client = await connect(…)`.

    `router`: HOST, HOST:PORT or [IPV6]:PORT, several separated by commas, further levels of routers
    by semicolons; one is enough, because each reaches the whole cluster. `ca`: PEM file of the
    authorities that are trusted; `cert` and `key`: PEM files of this client's certificate; `token`:
    who it is without one. What is left out comes from MILLRACE_ROUTER, MILLRACE_CA, MILLRACE_CERT,
    MILLRACE_KEY, MILLRACE_TOKEN and MILLRACE_ZONE, or is the default: a router in dev mode on this
    host. `zone`: where this client is; routers of the same zone are preferred. `nearest`: without
    zones, a router that is 2 ms away or more is left for one at most half as far, if there is one.
    `buffer_bytes`: events that wait or have no outcome; `send` waits beyond.

    ConnectError: no router answers, within `connect_within` seconds beyond the first attempt.
    Disconnected: a router refuses. ConfigError: a setting cannot be used.
    """

    def make() -> Client:
        config = Config.of(
            router,
            ca=ca,
            cert=cert,
            key=key,
            token=token,
            server_name=server_name,
            connect_timeout=connect_timeout,
            connect_within=connect_within,
            zone=zone,
            nearest=nearest,
        )
        return Client(config, buffer_bytes)

    return _Connecting(make)
