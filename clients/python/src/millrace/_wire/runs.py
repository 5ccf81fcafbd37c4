"""Runs of events, and the numbers that they use (docs/wire.md, sections 5 and 13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import numbers
from .codec import Fields, Malformed, Reader, field, frame, integer
from .control import Capacity, Source
from .tags import tags_of

PAYLOAD_BYTES_MAX = 1_048_576
RUN_EVENTS_MAX = 4_096
RUN_BODY_BYTES_MAX = 1_048_832
# What an event takes in a run besides its payload, at most: its time and the payload's length.
EVENT_HEAD_BYTES_MAX = 8 + 4

_DEFAULTS = Capacity()


def preamble() -> bytes:
    """How a publish stream begins."""
    return frame(numbers.PUBLISH_PREAMBLE)


def define_tags(number: int, canonical: bytes) -> bytes:
    return frame(numbers.DEFINE_TAGS, integer(number) + canonical)


def define_publisher(number: int, publisher: bytes, epoch: int, index: int = 0) -> bytes:
    body = integer(number) + publisher + integer(epoch)
    return frame(numbers.DEFINE_PUBLISHER, body + integer(index) if index else body)


def encode(
    flags: int, tags: int | bytes, first_seq: int, floor: int, events: Sequence[tuple[int, bytes]]
) -> bytes:
    """A run of publisher 0; `tags` is a number, or canonical bytes that it carries itself. Events
    are (time in ns, payload).
    """
    base = min(time_ns for time_ns, _ in events)
    body = [integer(first_seq), integer(first_seq - floor), integer(base), integer(len(events))]
    for time_ns, payload in events:
        body += (integer(time_ns - base), integer(len(payload)), payload)
    if isinstance(tags, int):
        hop = integer(flags) + integer(tags) + integer(0)
    else:
        hop = integer(flags | numbers.FLAG_INLINE_TAGS) + integer(0) + field(numbers.HOP_TAGS, tags)
    return frame(numbers.RUN, integer(len(hop)) + hop + b"".join(body))


@dataclass(frozen=True, slots=True)
class Run:
    """A run as a receiver reads it; events are (time in ns, payload)."""

    tags: Mapping[str, str]
    publisher: bytes
    epoch: int
    first_seq: int
    floor: int
    events: tuple[tuple[int, bytes], ...]
    level: int
    is_resent: bool
    maybe_duplicate: bool
    source: Source | None
    position: int
    ticket: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Gap:
    reason: str
    events: int
    router: int | None


@dataclass(frozen=True, slots=True)
class Replay:
    """The span of a replay, or, with `joined`, its end."""

    source: Source
    first: int
    end: int
    joined: bool


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything below these positions has been delivered, or is not for the receiver."""

    positions: tuple[tuple[Source, int], ...]


class Tables:
    """What the numbers of one delivery stream stand for; no more than Hello announced."""

    def __init__(self, capacity: Capacity = _DEFAULTS) -> None:
        self._capacity = capacity
        self._tags: dict[int, tuple[Mapping[str, str], int]] = {}
        self._tag_bytes = 0
        self._publishers: dict[int, tuple[bytes, int]] = {}
        self._sources: dict[int, Source] = {}

    def define_tags(self, body: bytes) -> None:
        reader = Reader(body)
        number, canonical = reader.integer(), reader.rest()
        _, size_before = self._tags.get(number, ({}, 0))
        self._tag_bytes += len(canonical) - size_before
        if number >= self._capacity.tag_sets or self._tag_bytes > self._capacity.tag_bytes:
            raise Malformed("more tag sets than this client announced", 0x03)
        self._tags[number] = tags_of(canonical), len(canonical)

    def define_publisher(self, body: bytes) -> None:
        reader = Reader(body)
        number = reader.integer()
        if number >= self._capacity.publishers:
            raise Malformed("more publishers than this client announced", 0x03)
        self._publishers[number] = reader.take(16), reader.integer()

    def define_source(self, body: bytes) -> None:
        reader = Reader(body)
        number = reader.integer()
        if number >= 4_096:
            raise Malformed("a source's number is too high", 0x03)
        router, incarnation = (int.from_bytes(reader.take(8), "big") for _ in range(2))
        self._sources[number] = Source(router, incarnation, reader.integer())

    def cursor(self, body: bytes) -> Cursor:
        found = Fields(body)
        sources, positions = found.numbers(1), found.numbers(2)
        if len(sources) != len(positions):
            raise Malformed("a cursor with positions of nobody")
        return Cursor(
            tuple((self._source(source), at) for source, at in zip(sources, positions, strict=True))
        )

    def run(self, body: bytes) -> Run:
        reader = Reader(body)
        hop = Reader(reader.prefixed())
        flags = hop.integer()
        tags_number = None if flags & numbers.FLAG_INLINE_TAGS else hop.integer()
        publisher_number = None if flags & numbers.FLAG_INLINE_PUBLISHER else hop.integer()
        optional = Fields(hop.rest())
        try:
            inline = optional.octets(numbers.HOP_TAGS)
            tags = tags_of(inline) if tags_number is None else self._tags[tags_number][0]
            if publisher_number is None:
                stated = Reader(optional.octets(numbers.HOP_PUBLISHER))
                publisher, epoch = stated.take(16), stated.integer()
            else:
                publisher, epoch = self._publishers[publisher_number]
        except KeyError as error:
            raise Malformed(f"number {error} was never defined") from error
        source, position = self._position(optional.octets(numbers.HOP_POSITION))
        first_seq, distance, base, count = (reader.integer() for _ in range(4))
        if not 1 <= count <= RUN_EVENTS_MAX or distance > first_seq:
            raise Malformed("the head of a run")
        events = tuple((base + reader.integer(), reader.prefixed()) for _ in range(count))
        reader.end()
        return Run(
            tags=tags,
            publisher=publisher,
            epoch=epoch,
            first_seq=first_seq,
            floor=first_seq - distance,
            events=events,
            level=flags & numbers.FLAG_LEVEL,
            is_resent=bool(flags & numbers.FLAG_RESENT),
            maybe_duplicate=bool(flags & numbers.FLAG_MAYBE_DUPLICATE),
            source=source,
            position=position,
            ticket=_ticket(optional.octets(numbers.HOP_TICKET)),
        )

    def _source(self, number: int) -> Source:
        if number not in self._sources:
            raise Malformed(f"source {number} was never defined")
        return self._sources[number]

    def _position(self, value: bytes) -> tuple[Source | None, int]:
        if not value:
            return None, 0
        reader = Reader(value)
        return self._source(reader.integer()), reader.integer()


def _ticket(value: bytes) -> tuple[int, int] | None:
    if not value:
        return None
    reader = Reader(value)
    return reader.integer(), reader.integer()


def gap(body: bytes) -> Gap:
    found = Fields(body)
    router = found.fixed64(3) if found.has(3) else None
    return Gap(numbers.GAP_REASONS.get(found.number(1), "other"), found.number(2), router)


def replay(body: bytes) -> Replay:
    found = Fields(body)
    source = Source(found.fixed64(2), found.fixed64(3), found.number(4))
    return Replay(source, found.number(5), found.number(6), bool(found.number(8)))
