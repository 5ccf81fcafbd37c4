"""Cursors: how far a receiver has come, to go on from there later, or elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from ._wire.control import Source

__all__ = ["Cursor"]

_FIRST_LINE = "millrace-cursor 1"
# What one frame carries.
_POSITIONS_MAX = 1_024


class Cursor:
    """How far a receiver has come with each owner of events, in one life of its router.

    `str(cursor)` and `Cursor.parse(text)` keep it in a file; `millrace sub --cursor` reads and
    writes the same text.
    """

    __slots__ = ("_positions",)

    def __init__(self, positions: Iterable[tuple[Source, int]] = ()) -> None:
        self._positions: dict[Source, int] = dict(positions)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reads a cursor's text; ValueError names the line that is none."""
        lines = text.splitlines()
        cursor = cls()
        for number, line in enumerate(lines[1:], 2):
            try:
                router, incarnation, owner, position = line.split()
                cursor._positions[Source(int(router, 16), int(incarnation, 16), int(owner))] = int(
                    position
                )
            except ValueError as error:
                raise ValueError(
                    f"line {number} is no line of a cursor; remove the file to begin anew"
                ) from error
        if lines[:1] != [_FIRST_LINE] or len(cursor._positions) > _POSITIONS_MAX:
            raise ValueError(
                f"this is no cursor: it begins with {_FIRST_LINE!r}, and at most 1,024 lines follow"
            )
        return cursor

    def __str__(self) -> str:
        lines = [
            f"{source.router:016x} {source.incarnation:016x} {source.owner} {position}"
            for source, position in sorted(self._positions.items())
        ]
        return "\n".join([_FIRST_LINE, *lines, ""])

    def __bool__(self) -> bool:
        return bool(self._positions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cursor) and self._positions == other._positions

    __hash__ = None  # type: ignore[assignment]  # It changes.

    def copy(self) -> Cursor:
        return Cursor(self._positions.items())

    def positions(self) -> Iterable[tuple[Source, int]]:
        """For the library: what a frame carries."""
        return self._positions.items()

    def pass_(self, source: Source, position: int) -> None:
        """For the library: everything of a source below a position has come. A router's earlier
        life is over.
        """
        if source not in self._positions:
            gone = [
                known
                for known in self._positions
                if known.router == source.router and known.incarnation != source.incarnation
            ]
            for known in gone:
                del self._positions[known]
            if len(self._positions) == _POSITIONS_MAX:
                return
        self._positions[source] = max(position, self._positions.get(source, 0))
