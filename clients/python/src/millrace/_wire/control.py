"""Control frames: what a client writes, and what it reads (docs/wire.md, sections 8 and 13)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import numbers, ranges
from .codec import Fields, field, fixed64, frame, skip_unknown

TICKETS_PER_FRAME_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a reader can hold of the numbers of one stream."""

    tag_sets: int = 16_384
    tag_bytes: int = 2_097_152
    publishers: int = 4_096

    def encode(self) -> bytes:
        return field(1, self.tag_sets) + field(2, self.tag_bytes) + field(3, self.publishers)

    @classmethod
    def decode(cls, body: bytes) -> Capacity:
        found = Fields(body)
        return cls(
            found.number(1, cls().tag_sets),
            found.number(2, cls().tag_bytes),
            found.number(3, cls().publishers),
        )


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """An owner of a router, in one life of it: who counts runs."""

    router: int
    incarnation: int
    owner: int


@dataclass(frozen=True, slots=True)
class Welcome:
    version: int
    router: int
    tables: Capacity
    receivers_max: int
    alternates: tuple[str, ...]
    silence: float
    features: frozenset[int]
    zone: str
    identity: str
    alternate_zones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    nonce: int


@dataclass(frozen=True, slots=True)
class Pong:
    nonce: int


@dataclass(frozen=True, slots=True)
class Goaway:
    delay: float
    alternates: tuple[str, ...]
    reason: str
    alternate_zones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Credit:
    bytes: int


@dataclass(frozen=True, slots=True)
class Received:
    publisher: int
    next_seq: int


@dataclass(frozen=True, slots=True)
class Outcome:
    publisher: int
    kind: str
    seqs: tuple[tuple[int, int], ...]
    receivers: int
    missed: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subscribed:
    receiver: int
    subscription: int
    stage: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str
    receiver: int
    message: str
    subscription: int | None = None
    is_about_publisher: bool = False


@dataclass(frozen=True, slots=True)
class ReceiverClosed:
    receiver: int
    reason: str


Frame = (
    Welcome
    | Ping
    | Pong
    | Goaway
    | Credit
    | Received
    | Outcome
    | Subscribed
    | Refused
    | ReceiverClosed
)


def decode(kind: int, body: bytes) -> Frame | None:
    """A frame of a router; None when it may be skipped."""
    if kind not in numbers.READ:
        # Whatever is in it: it need not even be fields.
        skip_unknown(kind)
        return None
    found = Fields(body)
    match kind:
        case numbers.WELCOME:
            return Welcome(
                version=found.number(1),
                router=found.fixed64(2),
                tables=Capacity.decode(found.octets(6)),
                receivers_max=found.number(7),
                alternates=tuple(found.texts(8)),
                silence=found.number(9) / 1e6,
                features=frozenset(found.numbers(11)),
                zone=found.text(13),
                identity=found.text(14),
                alternate_zones=tuple(found.texts(16)),
            )
        case numbers.PING:
            return Ping(found.number(1))
        case numbers.PONG:
            return Pong(found.number(1))
        case numbers.GOAWAY:
            return Goaway(
                found.number(1) / 1e6,
                tuple(found.texts(2)),
                found.text(3),
                tuple(found.texts(5)),
            )
        case numbers.CREDIT:
            return Credit(found.number(1))
        case numbers.RECEIVED:
            return Received(found.number(1), found.number(2))
        case numbers.OUTCOME:
            return Outcome(
                publisher=found.number(1),
                kind=numbers.OUTCOMES.get(found.number(2), "partial"),
                seqs=tuple(ranges.decode(found.octets(3))),
                receivers=found.number(4),
                missed=found.number(5),
                reasons=tuple(
                    numbers.OUTCOME_REASONS.get(reason, "other") for reason in found.numbers(6)
                ),
            )
        case numbers.SUBSCRIBED:
            return Subscribed(
                found.number(1),
                found.number(2),
                found.number(3),
                len(found.all(4)) + found.number(5),
            )
        case numbers.REFUSED:
            reason = numbers.REFUSED_REASONS.get(found.number(1), "other")
            subscription = found.number(3) if found.has(3) else None
            return Refused(reason, found.number(2), found.text(4), subscription, found.has(5))
        case numbers.RECEIVER_CLOSED:
            return ReceiverClosed(found.number(1), found.text(2))
    raise AssertionError(f"frame {kind:#x} is listed and not read")


def hello(
    software: str, receivers: int, secret: bytes, token: str, zone: str, features: Iterable[int]
) -> bytes:
    """A client's first frame; runs shall carry positions wherever the router keeps history."""
    body = (
        field(1, numbers.VERSION)
        + field(2, software)
        + field(3, Capacity().encode())
        + field(4, receivers)
    )
    body += b"".join(field(6, feature) for feature in features) + field(8, secret)
    if token:
        body += field(9, token)
    if zone:
        body += field(10, zone)
    return frame(numbers.HELLO, body + field(13, 1))


def ping(nonce: int) -> bytes:
    return frame(numbers.PING, field(1, nonce))


def pong(nonce: int) -> bytes:
    return frame(numbers.PONG, field(1, nonce))


@dataclass(frozen=True, slots=True)
class Membership:
    """A receiver's place in a group."""

    group: str
    level: int
    max_inflight: int
    exclusive: bool


def open_receiver(
    receiver: int,
    policy: int,
    queue_bytes: int,
    linger_us: int,
    grant: int,
    member: Membership | None,
) -> bytes:
    values: list[tuple[int, int | str]] = [
        (1, receiver),
        (2, policy),
        (3, queue_bytes),
        (4, linger_us),
        (5, grant),
    ]
    if member:
        values += [
            (7, member.group),
            (8, member.level),
            (9, member.max_inflight),
            (11, int(member.exclusive)),
        ]
    return frame(
        numbers.OPEN_RECEIVER,
        b"".join(field(number, value) for number, value in values if value or number <= 2),
    )


def position(source: Source, at: int) -> bytes:
    """A position, as Subscribe and Move carry it."""
    where = field(1, fixed64(source.router)) + field(2, fixed64(source.incarnation))
    return where + field(3, source.owner) + field(4, at)


def subscribe(
    receiver: int,
    subscription: int,
    selectors: Sequence[str],
    since_us: int,
    positions: Iterable[tuple[Source, int]],
    last: bool = False,
) -> bytes:
    """`last` asks for the newest event of each tag set, in place of `since_us` and positions."""
    body = field(1, receiver) + field(2, subscription)
    body += b"".join(field(3, selector) for selector in selectors)
    if since_us:
        body += field(4, since_us)
    body += b"".join(field(5, position(source, at)) for source, at in positions)
    if last:
        body += field(6, 1)
    return frame(numbers.SUBSCRIBE, body)


def grant(receiver: int, bytes_in_all: int) -> bytes:
    return frame(numbers.GRANT, field(1, receiver) + field(2, bytes_in_all))


def close_receiver(receiver: int) -> bytes:
    return frame(numbers.CLOSE_RECEIVER, field(1, receiver))


def member(receiver: int, busy: bool) -> bytes:
    return frame(numbers.MEMBER, field(1, receiver) + field(2, int(busy)))


def ack(
    receiver: int,
    kind: int,
    runs: Sequence[tuple[int, int]] = (),
    tickets: Sequence[tuple[int, int]] = (),
) -> bytes:
    """Runs by their numbers, as rising ranges, and tickets with their generations."""
    body = field(1, receiver) + field(2, kind)
    if runs:
        body += field(3, ranges.encode(runs))
    body += b"".join(
        field(4, field(1, ticket) + field(2, generation)) for ticket, generation in tickets
    )
    return frame(numbers.ACK, body)


def unsubscribe(receiver: int, subscription: int) -> bytes:
    return frame(numbers.UNSUBSCRIBE, field(1, receiver) + field(2, subscription))
