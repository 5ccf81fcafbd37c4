"""What a publisher has not been told the fate of.

    seq      0 1 2 3 4 5 6 7 8 9
    state    . . s . s s w w w      . settled  s sent  w waits to be sent
             floor ^

Events get seqs in the order in which they are taken, and are written in that order. An event with a
confirm level is settled by its Outcome; one without, by Received. When a connection is lost, those
with a level wait again, with their seqs, and those without are unknown. `floor`, the lowest seq
that may be sent again, tells receivers what they can forget.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from .._wire import control, numbers, runs
from .._wire.codec import Malformed
from ..items import EventId, Outcome, OutcomeKind

# Events without an outcome, at most: routers close connections of publishers with more.
EVENTS_MAX = 65_536
# Size at which a run is cut: large enough to cost little per event, small enough to be on its way
# soon.
RUN_BYTES = 64 * 1024


@dataclass(slots=True)
class Pending:
    """An event that is not settled."""

    seq: int
    tags: bytes
    time_ns: int
    payload: bytes
    level: int
    min_receivers: int
    settle: Callable[[Outcome], None]
    was_sent: bool = False

    @property
    def bytes(self) -> int:
        return len(self.payload) + len(self.tags) + runs.EVENT_HEAD_BYTES_MAX


class Window:
    """The events of one publisher that are not settled."""

    def __init__(self, epoch: int, bytes_max: int) -> None:
        self.epoch = epoch
        self.publisher = bytes(16)
        self.bytes_max = bytes_max
        self.can_confirm = True
        self._bytes = 0
        self._next_seq = 0
        # Ordered: the first is the floor, and taking it out costs the same however many there are.
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._waiting: deque[Pending] = deque()
        # Sent without a level: Received settles them in order.
        self._unconfirmed: deque[Pending] = deque()

    @property
    def is_empty(self) -> bool:
        return not self._pending

    @property
    def expects_answer(self) -> bool:
        """Whether something that was sent is not settled."""
        return len(self._pending) > len(self._waiting)

    def has_room(self, size: int) -> bool:
        """Whether an event of `size` bytes may be taken; one event always fits an empty window."""
        if not self._pending:
            return True
        return self._bytes + size <= self.bytes_max and len(self._pending) < EVENTS_MAX

    def add(
        self,
        tags: bytes,
        time_ns: int,
        payload: bytes,
        level: int,
        min_receivers: int,
        settle: Callable[[Outcome], None],
    ) -> None:
        """Takes an event; `settle` is called once."""
        event = Pending(self._next_seq, tags, time_ns, payload, level, min_receivers, settle)
        self._next_seq += 1
        self._bytes += event.bytes
        self._pending[event.seq] = event
        self._waiting.append(event)

    def take_run(self) -> list[Pending]:
        """The events of the next run: neighbours with one tag set and level. Empty: nothing
        waits.
        """
        run: list[Pending] = []
        size = 0
        while self._waiting and len(run) < runs.RUN_EVENTS_MAX:
            event = self._waiting[0]
            if event.seq not in self._pending:
                # A router spoke of it although it has not been sent again.
                self._waiting.popleft()
                continue
            if run:
                last = run[-1]
                if (last.tags, last.level, last.was_sent) != (
                    event.tags,
                    event.level,
                    event.was_sent,
                ):
                    break
                if event.seq != last.seq + 1 or size + event.bytes > RUN_BYTES:
                    break
            size += event.bytes
            run.append(self._waiting.popleft())
        return run

    def encode_run(self, run: list[Pending], tags: int | bytes) -> bytes:
        """The frame of a run, whose events count as sent from here on."""
        level = run[0].level if self.can_confirm else 0
        flags = level | (numbers.FLAG_RESENT if run[0].was_sent else 0)
        floor = min(next(iter(self._pending)), run[0].seq)
        frame = runs.encode(
            flags, tags, run[0].seq, floor, [(event.time_ns, event.payload) for event in run]
        )
        for event in run:
            event.was_sent = True
            if not level:
                self._unconfirmed.append(event)
        return frame

    def received(self, next_seq: int) -> None:
        """A router has read everything below."""
        if next_seq > self._next_seq:
            raise Malformed("Received of events that were never published", 0x06)
        while self._unconfirmed and self._unconfirmed[0].seq < next_seq:
            event = self._unconfirmed.popleft()
            self._settle(event, "unknown" if event.level else "received")

    def outcome(self, said: control.Outcome) -> None:
        """A router knows how events ended."""
        for first, end in said.seqs:
            if end > self._next_seq:
                raise Malformed("an Outcome of events that were never published", 0x06)
            is_short = end - first <= len(self._pending)
            for seq in (
                range(first, end)
                if is_short
                else [seq for seq in self._pending if first <= seq < end]
            ):
                event = self._pending.get(seq)
                if event and event.level and event.was_sent:
                    kind, reasons = _judge(said, event.min_receivers)
                    self._settle(event, kind, said.receivers, said.missed, reasons)

    def connection_lost(self) -> None:
        """Nothing more is told about what was sent."""
        while self._unconfirmed:
            event = self._unconfirmed.popleft()
            if not event.level:
                self._settle(event, "unknown")
        self._waiting = deque(self._pending.values())

    def give_up(self) -> None:
        """The publisher ends: nobody will know."""
        while self._pending:
            self._settle(next(iter(self._pending.values())), "unknown")
        self._waiting.clear()
        self._unconfirmed.clear()

    def _settle(
        self,
        event: Pending,
        kind: OutcomeKind,
        receivers: int = 0,
        missed: int = 0,
        reasons: tuple[str, ...] = (),
    ) -> None:
        if self._pending.pop(event.seq, None) is None:
            return
        self._bytes -= event.bytes
        event_id = EventId(self.publisher.hex(), self.epoch, event.seq)
        event.settle(Outcome(kind, event_id, receivers, missed, reasons))


def _judge(said: control.Outcome, min_receivers: int) -> tuple[OutcomeKind, tuple[str, ...]]:
    """An outcome with fewer receivers than the publisher asked for is none."""
    match said.kind:
        case "confirmed" if said.receivers >= min_receivers:
            return "confirmed", said.reasons
        case "confirmed":
            return ("partial" if said.receivers else "dropped"), (*said.reasons, "few_receivers")
        case "dropped":
            return "dropped", said.reasons
        case "unknown":
            return "unknown", said.reasons
    return "partial", said.reasons
