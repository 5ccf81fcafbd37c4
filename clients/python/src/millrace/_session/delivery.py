"""Reads the stream of one receiver, and says what the router may write of it (wire.md, section 7).

The grant is a position in the stream behind which the router writes nothing. The application
consumes bytes as it takes items; when half of the window is used up, the grant rises to consumed +
window. A router may stop within a frame: what has arrived of one counts as consumed, because nobody
can take half of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from .._wire import numbers, runs
from .._wire.codec import DATA_FRAME_BYTES_MAX, FrameReader, Malformed, skip_unknown

Item = runs.Run | runs.Gap | runs.Replay | runs.Cursor


class Delivery:
    """The stream of one receiver on one connection; `held` bytes wait already, from an older
    one.
    """

    def __init__(self, window: int, held: int = 0) -> None:
        self._reader = FrameReader(DATA_FRAME_BYTES_MAX)
        self._tables = runs.Tables()
        self._window = window
        self._held = held
        self._arrived = 0
        # Of these, what was whole frames.
        self._framed = 0
        self._consumed = 0
        self.granted = max(window - held, 0)
        self.runs = 0
        """Runs without tickets that have arrived: the number of the next one."""

    def feed(self, data: bytes) -> Iterator[tuple[Item, int]]:
        """Yields what the bytes complete, and what each took; definitions are part of what
        follows.
        """
        self._arrived += len(data)
        if self._arrived > self.granted + DATA_FRAME_BYTES_MAX:
            raise Malformed("a router writes past the receiver's grant", 0x03)
        size = 0
        for kind, body, frame_bytes in self._reader.feed(data):
            size += frame_bytes
            self._framed += frame_bytes
            item = self._item(kind, body)
            if item is not None:
                yield item, size
                size = 0
        self._consumed += size

    def _item(self, kind: int, body: bytes) -> Item | None:
        match kind:
            case numbers.RUN:
                run = self._tables.run(body)
                if run.ticket is None:
                    self.runs += 1
                return run
            case numbers.DEFINE_TAGS:
                self._tables.define_tags(body)
            case numbers.DEFINE_PUBLISHER:
                self._tables.define_publisher(body)
            case numbers.DEFINE_SOURCE:
                self._tables.define_source(body)
            case numbers.GAP:
                return runs.gap(body)
            case numbers.REPLAY:
                return runs.replay(body)
            case numbers.CURSOR:
                return self._tables.cursor(body)
            case _:
                skip_unknown(kind)
        return None

    def consumed(self, size: int) -> int | None:
        """The application has taken so many bytes; the new grant, when there is one."""
        self._consumed += size
        partial = self._arrived - self._framed
        wanted = self._consumed + partial + self._window - self._held
        if wanted - self.granted < max(self._window // 2, 1):
            return None
        self.granted = wanted
        return wanted
