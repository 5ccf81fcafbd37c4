"""Acknowledgements that a router has yet to be told: of runs published at level "delivered", by
their numbers, and of runs that a group gave, by their tickets.
"""

from __future__ import annotations

from .._wire import control, numbers, ranges

# Runs that wait to be told, at most, before they are told at once.
GATHERED_MAX = 1_024


class Receipt:
    """One run that is to be acknowledged, once for all its events that were delivered."""

    __slots__ = ("connection", "events_left", "number", "ticket")

    def __init__(
        self, connection: int, number: int, ticket: tuple[int, int] | None, events: int
    ) -> None:
        self.connection = connection
        self.number = number
        self.ticket = ticket
        self.events_left = events


class Part:
    """One event of a run that is to be acknowledged."""

    __slots__ = ("is_done", "run")

    def __init__(self, run: Receipt) -> None:
        self.run = run
        self.is_done = False


class Acks:
    """What one receiver has acknowledged on its present connection."""

    def __init__(self) -> None:
        self._runs: list[int] = []
        self._tickets: list[tuple[int, int]] = []
        self._refused_runs: list[int] = []
        self._refused_tickets: list[tuple[int, int]] = []

    def take(self, part: Part) -> bool:
        """An event is done, however often that is said; True when it was the last of its run."""
        receipt = part.run
        if part.is_done or receipt.events_left == 0:
            return False
        part.is_done = True
        receipt.events_left -= 1
        if receipt.events_left:
            return False
        if receipt.ticket:
            self._tickets.append(receipt.ticket)
        else:
            self._runs.append(receipt.number)
        return True

    def refuse(self, receipt: Receipt) -> bool:
        """The application gives the whole run back; False when it was acknowledged already."""
        if receipt.events_left == 0:
            return False
        receipt.events_left = 0
        if receipt.ticket:
            self._refused_tickets.append(receipt.ticket)
        else:
            self._refused_runs.append(receipt.number)
        return True

    @property
    def is_full(self) -> bool:
        taken, refused = (
            len(self._runs) + len(self._tickets),
            len(self._refused_runs) + len(self._refused_tickets),
        )
        return taken + refused >= GATHERED_MAX

    def clear(self) -> None:
        """The connection that they were of is gone."""
        self._runs.clear()
        self._tickets.clear()
        self._refused_runs.clear()
        self._refused_tickets.clear()

    def frames(self, receiver: int) -> list[bytes]:
        """The frames that say so; afterwards nothing waits."""
        frames = []
        for kind, taken in (
            (numbers.ACK_TAKEN, self._runs),
            (numbers.ACK_REFUSED, self._refused_runs),
        ):
            spans = _spans(taken)
            for at in range(0, len(spans), ranges.RANGES_PER_FRAME_MAX):
                frames.append(
                    control.ack(receiver, kind, spans[at : at + ranges.RANGES_PER_FRAME_MAX])
                )
        for kind, tickets in (
            (numbers.ACK_TAKEN, self._tickets),
            (numbers.ACK_REFUSED, self._refused_tickets),
        ):
            for at in range(0, len(tickets), control.TICKETS_PER_FRAME_MAX):
                piece = tickets[at : at + control.TICKETS_PER_FRAME_MAX]
                frames.append(control.ack(receiver, kind, tickets=piece))
        self.clear()
        return frames


def _spans(run_numbers: list[int]) -> list[tuple[int, int]]:
    """Numbers as rising ranges (first, one past the last)."""
    spans: list[tuple[int, int]] = []
    for number in sorted(run_numbers):
        if spans and spans[-1][1] == number:
            spans[-1] = spans[-1][0], number + 1
        else:
            spans.append((number, number + 1))
    return spans
