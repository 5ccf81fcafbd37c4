"""What an application gets: events, gaps, and outcomes of what it published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal, NamedTuple

__all__ = ["Event", "EventId", "Gap", "Level", "Outcome", "OutcomeKind"]

Level = Literal["none", "routed", "delivered"]
"""What a publisher is told: that a router has the event; that it is in the queue of every receiver
that matches; that the application of every receiver that matches has acknowledged it."""

OutcomeKind = Literal["received", "confirmed", "partial", "dropped", "unknown"]


class EventId(NamedTuple):
    """Who published an event, in which life, and which of its events it is."""

    publisher: str
    """128 bits, in hexadecimal."""
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.publisher}-{self.epoch}-{self.seq}"


@dataclass(frozen=True, slots=True)
class Event:
    """An event."""

    tags: Mapping[str, str]
    payload: bytes
    id: EventId
    time_ns: int
    """When it was published, by its publisher's clock: nanoseconds since 1970-01-01 UTC."""
    maybe_duplicate: bool = False
    """It was sent again, and nobody can tell whether this receiver has had it."""
    replayed: bool = False
    """It comes from the router's history."""
    receipt: object = field(default=None, repr=False, compare=False)
    """What `Receiver.acknowledge` needs; means nothing to applications."""

    @property
    def text(self) -> str:
        """The payload as text; bytes that are not UTF-8 become U+FFFD."""
        return self.payload.decode(errors="replace")

    @property
    def time(self) -> datetime:
        """`time_ns`, to the microsecond."""
        seconds, nanoseconds = divmod(self.time_ns, 1_000_000_000)
        return datetime.fromtimestamp(seconds, timezone.utc).replace(
            microsecond=nanoseconds // 1_000
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """Events may be missing here."""

    reason: str
    """A word of docs/wire.md, section 5: "overflow", "router_lost", "session_lost" …"""
    events: int | None = None
    """How many; None: nobody knows."""
    router: str | None = None
    """The router that they entered through, in hexadecimal; None: any."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event.

    "received": a router has it (level "none") · "confirmed": all receivers that match have it, as
    the level says · "partial": some have · "dropped": none has · "unknown": nobody can tell.
    """

    kind: OutcomeKind
    id: EventId
    receivers: int = 0
    """Receivers that have it; with "confirmed", 0 means that nobody wanted it."""
    missed: int = 0
    reasons: tuple[str, ...] = ()
    """Why it is not confirmed: "overflow", "peer_lost", "timeout" …"""

    @property
    def ok(self) -> bool:
        """Whether the level that was asked for is reached."""
        return self.kind in ("received", "confirmed")
