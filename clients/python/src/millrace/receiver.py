"""Receivers: events that match, and gaps where some may be missing, as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from ._session.acks import Acks, Part, Receipt
from ._session.dedup import Dedup
from ._session.delivery import Delivery
from ._session.selection import Selection
from ._wire import control, numbers, runs
from ._wire.control import Source
from .cursor import Cursor
from .errors import Closed, MillraceError, Refused
from .items import Event, EventId, Gap

if TYPE_CHECKING:
    from ._io.session import Session

__all__ = ["Acknowledge", "Policy", "Receiver"]

Policy = Literal["drop-oldest", "drop-newest", "block", "disconnect"]
"""What the router does when the receiver's queue is full; "disconnect" ends the connection, which
then comes back with a gap.
"""

Acknowledge = Literal["taken", "explicit"]
"""Who acknowledges: the library when the application has got an event, or the application."""

# Bytes that may wait in this process: the stream's flow control is wider.
WINDOW_BYTES = 1 << 20
_SELECTORS_MAX, _SELECTOR_BYTES_MAX, _SELECTORS_BYTES_MAX = 1_024, 4_096, 60_000
# Acknowledgements of publishers are gathered so long, because each frame costs packets.
_GATHER_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Options:
    """What a receiver asks of its router."""

    policy: Policy
    queue_bytes: int
    linger: float
    since: float | None
    last: bool
    membership: control.Membership | None
    acknowledge: Acknowledge


@dataclass(slots=True)
class _Entry:
    """An item that waits for the application, or the end of a run of which nothing is fresh."""

    item: Event | Gap | None
    bytes: int = 0
    """What it took of the stream's grant; a run's bytes stand with its last event."""
    passes: tuple[tuple[Source, int], ...] = ()
    """Positions that are behind whoever has taken it."""


class Receiver:
    """Events that match, in order for each tag set, and gaps. Made by `Client.subscribe`.

        async with client.subscribe("host=web-*") as events:   # from here on nothing is missed
            async for item in events:
                ...

    It survives lost connections: a gap "session_lost" stands where events may be missing.
    """

    def __init__(
        self,
        selectors: Sequence[str],
        options: Options,
        cursor: Cursor | None,
        on_end: Callable[[Receiver], None],
    ) -> None:
        self._selection = Selection(_checked(selectors))
        self._options = options
        self._on_end = on_end
        self._is_past_wanted = options.since is not None or cursor is not None or options.last
        self._asked_at: float | None = None
        self._arrived = cursor.copy() if cursor else Cursor()
        self._taken = self._arrived.copy()
        self._inbox: deque[_Entry] = deque()
        self._held = 0
        self._dedup = Dedup()
        self._changed = asyncio.Event()
        self._error: MillraceError | None = None
        self._is_closed = False
        # Of the present connection.
        self._session: Session | None = None
        self._number = 0
        self._connection = 0
        self._refused: tuple[int, Refused] | None = None
        self._delivery: Delivery | None = None
        self._replays: dict[Source, int] = {}
        self._acks = Acks()
        self._ack_timer: asyncio.TimerHandle | None = None

    # For applications.

    async def ready(self) -> None:
        """Waits until every event that is published in the cluster from here on is seen; Refused
        says why not.
        """
        while not self._selection.is_effective:
            await self._wait()
            if self._is_closed:
                raise Closed("the receiver is closed: subscribe again")

    async def __aenter__(self) -> Receiver:
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event | Gap]:
        return self

    async def __anext__(self) -> Event | Gap:
        while True:
            while self._inbox:
                item = self._take()
                if item is not None:
                    return item
            if self._is_closed:
                raise StopAsyncIteration
            await self._wait()

    async def next(self, timeout: float | None = None) -> Event | Gap | None:
        """The next item; None after `timeout` seconds without one, or when the receiver is
        closed.
        """
        try:
            return await asyncio.wait_for(self.__anext__(), timeout)
        except (asyncio.TimeoutError, StopAsyncIteration):
            return None

    @property
    def cursor(self) -> Cursor:
        """How far the application has come, where the router keeps history; empty where it does
        not.
        """
        return self._taken.copy()

    @property
    def duplicates_removed(self) -> int:
        """Events that were sent again and that this receiver had had."""
        return self._dedup.removed

    def acknowledge(self, event: Event) -> None:
        """With `acknowledge="explicit"`: the application has done its work on the event. The router
        is told once all events of its run are acknowledged. What is not acknowledged within 30 s
        another member of the group gets, and its publisher takes for missed.
        """
        part = event.receipt
        if (
            isinstance(part, Part)
            and part.run.connection == self._connection
            and self._acks.take(part)
        ):
            self._acks_changed(at_once=part.run.ticket is not None)

    def refuse(self, event: Event) -> None:
        """With `acknowledge="explicit"`: gives the event, and those of its run, to another member
        of the group; a publisher at level "delivered" hears "refused".
        """
        part = event.receipt
        if (
            isinstance(part, Part)
            and part.run.connection == self._connection
            and self._acks.refuse(part.run)
        ):
            self._acks_changed(at_once=True)

    def busy(self, is_busy: bool) -> None:
        """A member of a group says that others are to be used, until it says otherwise."""
        if self._session:
            self._session.send(control.member(self._number, is_busy))

    async def select(self, *selectors: str) -> None:
        """Replaces the selectors, and waits until the new ones are effective in the cluster. Those
        before end then, so a few of their events may still follow. Refused says why not: then those
        before stay, but for a receiver with `since`, `cursor` or `last`, which ends: what its new
        selectors match comes from history, from where it is.
        """
        ended = self._selection.replace(_checked(selectors), self._is_past_wanted)
        asked, self._refused = self._selection.number, None
        if self._session:
            number = self._number
            # The new one first: nothing that both select is missed.
            self._session.send(
                self._subscribe(), *(control.unsubscribe(number, each) for each in ended)
            )
        while self._selection.number == asked and not self._selection.is_effective:
            await self._wait()
            if self._is_closed:
                raise Closed("the receiver is closed: subscribe again")
        if self._refused and self._refused[0] == asked:
            raise self._refused[1]
        await self.ready()

    async def close(self) -> None:
        """Ends the receiver; what waits is still handed out."""
        if not self._is_closed:
            self._is_closed = True
            self._tell_acks()
            if self._session:
                self._session.send(control.close_receiver(self._number))
            self._changed.set()
            self._on_end(self)

    # For the client.

    def attach(self, session: Session, number: int, connection: int) -> None:
        """Opens the receiver at a router."""
        self._session, self._number, self._connection = session, number, connection
        self._delivery = Delivery(WINDOW_BYTES, self._held)
        self._replays.clear()
        options = self._options
        if options.membership and not session.has(numbers.FEATURE_GROUPS):
            self.fail(Refused("unsupported", "the router has no groups"))
        elif self._is_past_wanted and not session.has(numbers.FEATURE_HISTORY):
            self.fail(Refused("history", "the router keeps none"))
        else:
            opened = control.open_receiver(
                number,
                numbers.POLICIES[options.policy],
                options.queue_bytes,
                round(options.linger * 1e6),
                self._delivery.granted,
                options.membership,
            )
            session.send(opened, self._subscribe())

    def detach(self) -> None:
        """The connection is gone: events may be missing from here on."""
        is_known = self._inbox and self._inbox[-1].item == Gap("session_lost")
        if self._session and self._selection.is_heard and not is_known:
            self._inbox.append(_Entry(Gap("session_lost")))
        self._session, self._delivery = None, None
        self._selection.lost()
        self._acks.clear()
        self._changed.set()

    def subscribed(self, frame: control.Subscribed) -> None:
        ended = self._selection.subscribed(frame.subscription, frame.stage)
        if self._session and ended:
            number = self._number
            self._session.send(*(control.unsubscribe(number, each) for each in ended))
        self._changed.set()

    def refused(self, subscription: int, error: Refused) -> None:
        """A subscription cannot be had: the one before goes on, or the receiver ends."""
        goes_on = self._selection.refused(subscription)
        if goes_on:
            self._refused = subscription, error
            self._changed.set()
        elif goes_on is not None:
            self.fail(error)

    def fail(self, error: MillraceError) -> None:
        """It cannot go on; the application hears why once it has taken what waits."""
        if self._error is None and not self._is_closed:
            self._error = error
            if self._session:
                self._session.send(control.close_receiver(self._number))
            self._changed.set()
            self._on_end(self)

    def feed(self, connection: int, data: bytes) -> None:
        """Bytes of the receiver's stream arrived."""
        delivery = self._delivery
        if delivery is None or connection != self._connection or self._is_closed:
            return
        for item, size in delivery.feed(data):
            self._item(item, size)
        if self._inbox:
            self._changed.set()
        self._grant(0)

    # Within.

    def _item(self, item: runs.Run | runs.Gap | runs.Replay | runs.Cursor, size: int) -> None:
        match item:
            case runs.Run():
                self._run(item, size)
            case runs.Gap():
                router = None if item.router is None else f"{item.router:016x}"
                self._put(_Entry(Gap(item.reason, item.events or None, router), size))
            case runs.Replay():
                if item.joined:
                    self._replays.pop(item.source, None)
                else:
                    self._replays[item.source] = item.end
                self._put(_Entry(None, size, () if item.joined else ((item.source, item.first),)))
            case runs.Cursor():
                for source, position in item.positions:
                    self._arrived.pass_(source, position)
                self._put(_Entry(None, size, item.positions))

    def _run(self, run: runs.Run, size: int) -> None:
        assert self._delivery is not None
        fresh, maybe_duplicate = self._dedup.take(run)
        seqs = [seq for first, end in fresh for seq in range(first, end)]
        receipt = None
        if run.ticket or run.level == numbers.LEVELS["delivered"]:
            receipt = Receipt(
                self._connection, self._delivery.runs - 1, run.ticket, max(len(seqs), 1)
            )
        replayed = run.source is not None and run.position < self._replays.get(run.source, 0)
        passes: tuple[tuple[Source, int], ...] = ()
        if run.source is not None:
            passes = ((run.source, run.position + 1),)
            self._arrived.pass_(run.source, run.position + 1)
        publisher = run.publisher.hex()
        for seq in seqs:
            time_ns, payload = run.events[seq - run.first_seq]
            event_id = EventId(publisher, run.epoch, seq)
            part = Part(receipt) if receipt else None
            event = Event(run.tags, payload, event_id, time_ns, maybe_duplicate, replayed, part)
            is_last = seq == seqs[-1]
            self._put(_Entry(event, size if is_last else 0, passes if is_last else ()))
        if not seqs:
            if receipt and self._acks.take(Part(receipt)):
                self._acks_changed(at_once=False)
            self._put(_Entry(None, size, passes))

    def _put(self, entry: _Entry) -> None:
        self._inbox.append(entry)
        self._held += entry.bytes
        # What nobody waits for is taken at once, so that the cursor of a quiet receiver goes on.
        while self._inbox and self._inbox[0].item is None:
            self._take()

    def _take(self) -> Event | Gap | None:
        entry = self._inbox.popleft()
        self._held -= entry.bytes
        for source, position in entry.passes:
            self._taken.pass_(source, position)
        self._grant(entry.bytes)
        if isinstance(entry.item, Event) and self._options.acknowledge == "taken":
            self.acknowledge(entry.item)
        return entry.item

    def _grant(self, size: int) -> None:
        if self._delivery and self._session:
            granted = self._delivery.consumed(size)
            if granted is not None and not self._is_closed:
                self._session.send(control.grant(self._number, granted))

    def _subscribe(self) -> bytes:
        subscription, selectors = self._selection.number, self._selection.selectors
        since_us, positions = 0, list[tuple[Source, int]]()
        if self._is_past_wanted:
            now = asyncio.get_running_loop().time()
            self._asked_at = now if self._asked_at is None else self._asked_at
            # At least 1, because 0 asks for nothing of the past.
            since_us = max(round(((self._options.since or 0) + now - self._asked_at) * 1e6), 1)
            positions = list(self._arrived.positions())
        # Behind a lost connection the cursor says more: everything since then.
        if self._options.last and not positions:
            return control.subscribe(self._number, subscription, selectors, 0, [], last=True)
        return control.subscribe(self._number, subscription, selectors, since_us, positions)

    async def _wait(self) -> None:
        """Waits for something to change; what ended the receiver is raised."""
        if self._error:
            raise self._error
        self._changed.clear()
        await self._changed.wait()

    def _acks_changed(self, at_once: bool) -> None:
        if at_once or self._acks.is_full:
            self._tell_acks()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(
                _GATHER_SECONDS, self._tell_acks
            )

    def _tell_acks(self) -> None:
        if self._ack_timer:
            self._ack_timer.cancel()
            self._ack_timer = None
        frames = self._acks.frames(self._number)
        if self._session and frames:
            self._session.send(*frames)


def _checked(selectors: Sequence[str]) -> tuple[str, ...]:
    """Selectors that fit one frame; routers check the rest."""
    if not selectors:
        raise ValueError('no selector is given: write "*" for every event')
    sizes = [len(selector.encode()) for selector in selectors]
    if (
        len(sizes) > _SELECTORS_MAX
        or max(sizes) > _SELECTOR_BYTES_MAX
        or sum(sizes) > _SELECTORS_BYTES_MAX
    ):
        raise ValueError(
            f"selectors are too long: a receiver has at most {_SELECTORS_MAX}, each of "
            f"{_SELECTOR_BYTES_MAX} bytes, and {_SELECTORS_BYTES_MAX} bytes together; open more receivers"
        )
    return tuple(selectors)
