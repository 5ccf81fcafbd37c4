"""Ranges of seqs: as bytes in frames, and as a set that grows (docs/wire.md, section 13)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from .codec import INTEGER_MAX, Malformed, Reader, integer

RANGES_PER_FRAME_MAX = 1_024


def encode(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Rising ranges (first, one past the last), as a frame has them."""
    out, end_before = bytearray(), 0
    for first, end in ranges:
        out += integer(first - end_before) + integer(end - first)
        end_before = end
    return bytes(out)


def decode(data: bytes) -> list[tuple[int, int]]:
    """Rising ranges (first, one past the last)."""
    reader, end = Reader(data), 0
    ranges: list[tuple[int, int]] = []
    while not reader.is_done():
        first = end + reader.integer()
        end = first + reader.integer()
        if end == first or end > INTEGER_MAX or len(ranges) == RANGES_PER_FRAME_MAX:
            raise Malformed("ranges of seqs")
        ranges.append((first, end))
    return ranges


class SeqSet:
    """A set of seqs as rising ranges that do not touch. Seqs below `floor` are in it."""

    __slots__ = ("_ends", "_firsts", "floor")

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        self._firsts: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        """How many ranges there are above the floor."""
        return len(self._firsts)

    @property
    def end(self) -> int:
        """One past the highest seq."""
        return self._ends[-1] if self._ends else self.floor

    @property
    def lowest_end(self) -> int:
        """One past the lowest range above the floor; the floor, where there is none."""
        return self._ends[0] if self._ends else self.floor

    def ranges(self) -> list[tuple[int, int]]:
        return list(zip(self._firsts, self._ends, strict=True))

    def insert(self, first: int, end: int) -> None:
        first = max(first, self.floor)
        if first >= end:
            return
        low = bisect_left(self._ends, first)
        high = bisect_right(self._firsts, end)
        if low < high:
            first, end = min(first, self._firsts[low]), max(end, self._ends[high - 1])
        if first <= self.floor:
            self.floor = end
            del self._firsts[low:high], self._ends[low:high]
        else:
            self._firsts[low:high], self._ends[low:high] = [first], [end]

    def missing(self, first: int, end: int) -> list[tuple[int, int]]:
        """The parts of a range that are not in the set."""
        parts, at = [], max(first, self.floor)
        index = bisect_right(self._ends, at)
        while at < end:
            if index == len(self._firsts):
                parts.append((at, end))
                break
            if at < self._firsts[index]:
                parts.append((at, min(end, self._firsts[index])))
            at = self._ends[index]
            index += 1
        return parts

    def forget_lowest(self) -> int:
        """Takes everything up to the end of the lowest range for known; returns that end."""
        self.floor = self._ends.pop(0)
        self._firsts.pop(0)
        return self.floor
