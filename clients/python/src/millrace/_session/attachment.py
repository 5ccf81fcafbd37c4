"""Which routers a client tries, in which order, and when again.

Addresses stand in levels: the routers of a level are tried in a new random order each time, and
before those of the next level. Routers that others named (alternates) come last. Pauses between
rounds are drawn at random below a bound that doubles, because the clients of a dead router must not
come back all at once.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .._wire.numbers import DEFAULT_PORT

PAUSE_FIRST = 0.05
# Alternates that are remembered: as many as a frame has.
ALTERNATES_MAX = 64

_ADDRESS = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/@\[\]]+))(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A router as people write it: HOST, HOST:PORT or [IPV6]:PORT."""

    host: str
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Address:
        found = _ADDRESS.fullmatch(text.strip())
        port = int(found["port"] or DEFAULT_PORT) if found else 0
        if not found or not 0 < port < 65_536:
            raise ValueError(
                f"{text!r} is not a router's address: write HOST, HOST:PORT or [IPV6]:PORT"
            )
        return cls((found["v6"] or found["host"]).lower(), port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_levels(text: str) -> list[list[Address]]:
    """Routers of one level are separated by commas, levels by semicolons."""
    levels = [
        [Address.parse(one) for one in level.split(",") if one.strip()] for level in text.split(";")
    ]
    levels = [level for level in levels if level]
    if not levels:
        raise ValueError("no router is given: write HOST, HOST:PORT or [IPV6]:PORT")
    return levels


class Attachment:
    """Where one client may be attached."""

    def __init__(
        self, levels: list[list[Address]], pause_max: float, draw: random.Random | None = None
    ) -> None:
        self._levels = levels
        self._alternates: list[Address] = []
        self._pause_max = pause_max
        self._bound = PAUSE_FIRST
        self._draw = draw or random.Random()

    def round(self) -> list[Address]:
        """All routers, each once, in the order in which they are to be tried."""
        found: dict[Address, None] = {}
        for level in [*self._levels, self._alternates]:
            found.update(dict.fromkeys(self._draw.sample(level, len(level))))
        return list(found)

    def better(self, address: Address) -> list[Address]:
        """The routers of the levels before that of `address`."""
        for number, level in enumerate(self._levels):
            if address in level:
                return [one for before in self._levels[:number] for one in before]
        return [one for level in self._levels for one in level] if len(self._levels) > 1 else []

    def learn(self, alternates: Iterable[str]) -> None:
        """A router named others; what cannot be read is left out."""
        learned = []
        for text in alternates:
            try:
                learned.append(Address.parse(text))
            except ValueError:
                continue
        if learned:
            self._alternates = learned[:ALTERNATES_MAX]

    def settled(self) -> None:
        """A router answered: the next pause is short again."""
        self._bound = PAUSE_FIRST

    def pause(self) -> float:
        """Seconds until the next round."""
        bound, self._bound = self._bound, min(self._bound * 2, self._pause_max)
        return self._draw.uniform(0, bound)
