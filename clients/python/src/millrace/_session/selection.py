"""Which subscription of a receiver counts while its selectors are replaced.

    asked   0: a        1: b          2: c
            effective   refused       effective: 0 ends here

A new one is asked for beside the one that is effective, which ends when the new one is effective in
the cluster: nothing that both select is missed. One that is refused changes nothing. Numbers are
given in turn, because answers about earlier ones may still be on their way.
"""

from __future__ import annotations

from .._wire.numbers import STAGE_CLUSTER

# Subscriptions of a receiver.
_NUMBERS = 1_024


class _Asked:
    """One subscription."""

    __slots__ = ("number", "selectors", "stage")

    def __init__(self, number: int, selectors: tuple[str, ...]) -> None:
        self.number, self.selectors, self.stage = number, selectors, 0


class Selection:
    """The selectors of one receiver, across its connections."""

    def __init__(self, selectors: tuple[str, ...]) -> None:
        self._newest = _Asked(0, selectors)
        # The one that the newest is to replace.
        self._before: _Asked | None = None
        self._given = 0

    @property
    def number(self) -> int:
        """The newest subscription."""
        return self._newest.number

    @property
    def selectors(self) -> tuple[str, ...]:
        return self._newest.selectors

    @property
    def is_effective(self) -> bool:
        return self._newest.stage >= STAGE_CLUSTER

    @property
    def is_heard(self) -> bool:
        """Whether events come that would be missed."""
        return self._newest.stage > 0 or self._before is not None

    def replace(self, selectors: tuple[str, ...], is_replayed: bool = False) -> list[int]:
        """The newest is another one from here on; returns those that end at once. One that brings
        what lies before it stands alone: beside the one before, events would come with both.
        """
        ended = []
        if is_replayed and self._before:
            ended.append(self._before.number)
            self._before = None
        if self.is_effective and not is_replayed:
            self._before = self._newest
        else:
            ended.append(self._newest.number)
        self._given = (self._given + 1) % _NUMBERS
        if self._before and self._before.number == self._given:
            self._given = (self._given + 1) % _NUMBERS
        self._newest = _Asked(self._given, selectors)
        return ended

    def subscribed(self, number: int, stage: int) -> list[int]:
        """The router says how far a subscription is; returns those that end with that."""
        if number != self._newest.number or stage > STAGE_CLUSTER:
            return []
        self._newest.stage = max(self._newest.stage, stage)
        if not self.is_effective or self._before is None:
            return []
        ended, self._before = self._before, None
        return [ended.number]

    def refused(self, number: int) -> bool | None:
        """The router refuses a subscription: whether the one before goes on in its place; None when
        it was none that counts.
        """
        if number != self._newest.number:
            return None
        if self._before is None:
            return False
        self._newest, self._before = self._before, None
        return True

    def lost(self) -> None:
        """The connection is gone: the newest is asked for anew, and alone."""
        self._newest.stage, self._before = 0, None
