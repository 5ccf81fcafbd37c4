"""Which events a receiver has had, so that one which its publisher sends again comes once.

A publisher with a confirm level, or on two routers, says with every run below which seq nothing
comes again: its floor. Seqs at or above it are remembered. In doubt an event is delivered, marked as a possible
duplicate.
"""

from __future__ import annotations

from collections import OrderedDict

from .._wire.ranges import SeqSet
from .._wire.runs import Run

# Publishers that are remembered, at most: the one that came first gives way.
PUBLISHERS_MAX = 1_024
# Ranges that are remembered of each, at most: the lowest give way. As many has a receiver that gets
# every second event of a publisher on two routers, one of which is behind by a window of 65,536.
RANGES_MAX = 32_768
# Ranges that are remembered whatever the floor: a first copy may arrive behind the second.
RANGES_KEPT = 64


class _Had:
    """What a receiver has had of one publisher."""

    __slots__ = ("floor", "known_from", "seqs")

    def __init__(self, known_from: int) -> None:
        self.known_from = known_from
        self.floor = 0
        self.seqs = SeqSet(known_from)

    def forget(self) -> None:
        while (count := len(self.seqs)) > RANGES_KEPT:
            if count <= RANGES_MAX and self.seqs.lowest_end > self.floor:
                return
            self.known_from = self.seqs.forget_lowest()


class Dedup:
    """What one receiver has had, across its connections."""

    def __init__(self) -> None:
        self._had: OrderedDict[tuple[bytes, int], _Had] = OrderedDict()
        self._has_forgotten = False
        self.removed = 0

    def take(self, run: Run) -> tuple[list[tuple[int, int]], bool]:
        """The seqs of a run that are fresh, and whether they may have come before all the same."""
        first, end = run.first_seq, run.first_seq + len(run.events)
        was_sent = run.is_resent or run.maybe_duplicate
        # A group gives an event again because it was not acknowledged: only the application can
        # tell. Without a level only what other clusters forward comes twice, and is marked so.
        if run.ticket or not (run.level or was_sent):
            return [(first, end)], run.maybe_duplicate
        key = run.publisher, run.epoch
        had = self._had.get(key)
        if had is None:
            had = self._add(key, end if was_sent else first)
        had.floor = max(had.floor, run.floor)
        # Below `known_from` nobody remembers: such seqs are delivered, and marked.
        forgotten = min(max(first, had.known_from), end)
        parts = [(first, forgotten)] if first < forgotten else []
        parts += had.seqs.missing(forgotten, end)
        self.removed += end - first - sum(stop - start for start, stop in parts)
        had.seqs.insert(first, end)
        had.forget()
        return parts, first < forgotten

    def _add(self, key: tuple[bytes, int], seen_to: int) -> _Had:
        if len(self._had) == PUBLISHERS_MAX:
            self._had.popitem(last=False)
            self._has_forgotten = True
        # Behind a publisher that was forgotten, a new one may be that one.
        had = self._had[key] = _Had(seen_to if self._has_forgotten else 0)
        return had
