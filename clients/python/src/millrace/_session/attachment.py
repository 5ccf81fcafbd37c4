"""Which routers a client tries, in which order, and when again.

Addresses stand in levels: the routers of a level are tried in a new random order each time, and
before those of the next level. Routers that others named (alternates) come last. A client with a
zone tries the routers first of which it has heard that they are there. Pauses between rounds are
drawn at random below a bound that doubles, because the clients of a dead router must not come back
all at once.

Without zones the round trip decides: a router is nearer when its round trip is at most half of
another's and two milliseconds shorter, and a router that is two milliseconds away or more is far.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from .._wire.numbers import DEFAULT_PORT

PAUSE_FIRST = 0.05
# Routers that are measured when the present one is far, at most.
CANDIDATES_MAX = 8
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


def is_nearer(other: float, present: float) -> bool:
    """Whether a router of one round trip is so much nearer than another that it is worth a
    handshake; in seconds.
    """
    return other * 2 <= present and present - other >= 0.002


def is_far(present: float) -> bool:
    """Whether any router could be nearer than one of this round trip."""
    return is_nearer(0.0, present)


class Attachment:
    """Where one client may be attached."""

    def __init__(
        self,
        levels: list[list[Address]],
        pause_max: float,
        draw: random.Random | None = None,
        zone: str = "",
    ) -> None:
        self._levels = levels
        self._zone = zone
        self._home: list[Address] = []
        self._alternates: list[Address] = []
        self._pause_max = pause_max
        self._bound = PAUSE_FIRST
        self._draw = draw or random.Random()

    def round(self) -> list[Address]:
        """All routers, each once, in the order in which they are to be tried."""
        found: dict[Address, None] = {}
        for level in [self._home, *self._levels, self._alternates]:
            found.update(dict.fromkeys(self._draw.sample(level, len(level))))
        return list(found)

    def better(self, address: Address) -> list[Address]:
        """The routers of the levels before that of `address`."""
        for number, level in enumerate(self._levels):
            if address in level:
                return [one for before in self._levels[:number] for one in before]
        return [one for level in self._levels for one in level] if len(self._levels) > 1 else []

    def is_first(self, address: Address) -> bool:
        """Whether no level comes before that of `address`."""
        return len(self._levels) == 1 or address in self._levels[0]

    def candidates(self) -> list[Address]:
        """Routers that may be nearer than the present one of the first level, in random order: no
        others of further levels.
        """
        further = {one for level in self._levels[1:] for one in level}
        known = dict.fromkeys([*self._levels[0], *self._alternates])
        found = [one for one in known if one not in further]
        return self._draw.sample(found, len(found))

    def is_abroad(self, zone: str, zones: Iterable[str]) -> bool:
        """Whether a router is of another zone than the client; not where routers have none."""
        return self.has_zones(zone, zones) and zone != self._zone

    def has_zones(self, zone: str, zones: Iterable[str]) -> bool:
        """Whether the client and any of these routers have a zone: then round trips do not count."""
        return bool(self._zone) and (bool(zone) or any(zones))

    def home(self) -> list[Address]:
        """Routers of the client's zone of which it has heard, in random order."""
        return self._draw.sample(self._home, len(self._home))

    def learn(self, alternates: Iterable[str], zones: Iterable[str] = ()) -> None:
        """A router named others; what cannot be read is left out."""
        learned, home = [], []
        for text, zone in zip_longest(alternates, zones, fillvalue=""):
            try:
                learned.append(Address.parse(text))
            except ValueError:
                continue
            if zone and zone == self._zone:
                home.append(learned[-1])
        if learned:
            self._alternates = learned[:ALTERNATES_MAX]
        # Those that were heard of last come first.
        self._home = list(dict.fromkeys([*home, *self._home]))[:ALTERNATES_MAX]

    def settled(self) -> None:
        """A router answered: the next pause is short again."""
        self._bound = PAUSE_FIRST

    def pause(self) -> float:
        """Seconds until the next round."""
        bound, self._bound = self._bound, min(self._bound * 2, self._pause_max)
        return self._draw.uniform(0, bound)
