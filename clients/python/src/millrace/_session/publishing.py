"""Writes one publish stream, as far as the router's credit goes (docs/wire.md, section 6)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from .._wire import runs
from .._wire.control import Capacity
from .window import Window


def publisher_id(secret: bytes, identity: str, index: int = 0) -> bytes:
    """The id that a client proves with its secret."""
    return hashlib.sha256(secret + identity.encode() + index.to_bytes(8, "big")).digest()[:16]


class TagNumbers:
    """Numbers of tag sets on one stream. The one that was not used for longest gives way."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._bytes = 0
        self._numbers: OrderedDict[bytes, int] = OrderedDict()

    def number(self, canonical: bytes) -> tuple[int | None, bytes]:
        """The number of a tag set and the definition to write before its use; None: write it
        inline.
        """
        number = self._numbers.get(canonical)
        if number is not None:
            self._numbers.move_to_end(canonical)
            return number, b""
        if len(self._numbers) < self._capacity.tag_sets:
            number, freed = len(self._numbers), 0
        elif self._numbers:
            oldest, number = next(iter(self._numbers.items()))
            freed = len(oldest)
        else:
            return None, b""
        if self._bytes - freed + len(canonical) > self._capacity.tag_bytes:
            return None, b""
        if freed:
            self._numbers.popitem(last=False)
        self._bytes += len(canonical) - freed
        self._numbers[canonical] = number
        return number, runs.define_tags(number, canonical)


class PublishStream:
    """The publish stream of one connection."""

    def __init__(self, window: Window, capacity: Capacity) -> None:
        self._window = window
        self._tags = TagNumbers(capacity)
        self._written = 0
        self._credit = 0
        # At most one run and its definition.
        self._outbox = bytearray(
            runs.preamble() + runs.define_publisher(0, window.publisher, window.epoch)
        )

    def credit(self, bytes_in_all: int) -> None:
        self._credit = max(self._credit, bytes_in_all)

    def take(self) -> bytes:
        """The next bytes to write; empty: there is no credit, or nothing to say."""
        room = self._credit - self._written
        while len(self._outbox) < room:
            run = self._window.take_run()
            if not run:
                break
            number, definition = self._tags.number(run[0].tags)
            self._outbox += definition
            self._outbox += self._window.encode_run(run, run[0].tags if number is None else number)
        piece = bytes(self._outbox[:room]) if room > 0 else b""
        del self._outbox[: len(piece)]
        self._written += len(piece)
        return piece
