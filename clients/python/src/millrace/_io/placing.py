"""Which router a client stays with once one has answered: one of its zone, or the nearest.

Both are asked while nothing is open on the session that is given, so that leaving it costs no
event.
"""

from __future__ import annotations

import contextlib
import logging

from .._session.attachment import Attachment, is_far, is_nearer
from ..config import Config
from ..errors import MillraceError
from .finding import find, measure
from .session import Session

logger = logging.getLogger("millrace")

# How long a nearer router has to be greeted and measured: round trips to the present one, and time
# for the handshakes themselves.
_LOOK_ROUND_TRIPS, _LOOK_SECONDS = 3, 0.1


class Placing:
    """Better places for one client."""

    def __init__(self, config: Config, secret: bytes, attachment: Attachment) -> None:
        self._config, self._secret, self._attachment = config, secret, attachment

    def is_abroad(self, session: Session) -> bool:
        """Whether a router is of another zone than this client."""
        return self._attachment.is_abroad(session.welcome.zone, session.welcome.alternate_zones)

    async def settle(self, session: Session, avoid: tuple[str, int] | None = None) -> Session:
        """The session to be attached to once a router has answered: one in this client's zone, or
        with the nearest router. Nothing is open yet on the one that is given, so that leaving it
        costs no event.
        """
        try:
            better = await self._better(session, avoid)
        except BaseException:
            session.close()
            raise
        if better is None:
            return session
        session.close(0x00, "another router is nearer")
        return better

    async def _better(self, session: Session, avoid: tuple[str, int] | None) -> Session | None:
        """A session that is to take the place of this one; None: there is none."""
        welcome = session.welcome
        self._attachment.learn(welcome.alternates, welcome.alternate_zones)
        with contextlib.suppress(MillraceError):
            if self.is_abroad(session):
                home = self._attachment.home()
                return home and await find(home, self._config, self._secret, [], avoid) or None
            if not self._attachment.has_zones(welcome.zone, welcome.alternate_zones):
                return await self._nearest(session, avoid)
        return None

    async def _nearest(self, session: Session, avoid: tuple[str, int] | None) -> Session | None:
        """A session with the nearest router, when that of `session` is far and another one nearer.
        What it measures has an answer sooner than `session` has had.
        """
        if not self._config.nearest or not self._attachment.is_first(session.address):
            return None
        present = await session.round_trip()
        if not is_far(present):
            return None
        within = _LOOK_ROUND_TRIPS * present + _LOOK_SECONDS
        not_those = {session.endpoint} | ({avoid} if avoid else set())
        measured = await measure(
            self._attachment.candidates(), self._config, self._secret, within, not_those
        )
        best, best_trip = None, 0.0
        try:
            present = min(present, await session.round_trip())
            nearer = [one for one in measured if is_nearer(one[0], present)]
            best_trip, best = min(nearer, key=lambda one: one[0], default=(0.0, None))
        finally:
            for _, other in measured:
                if other is not best:
                    other.close(0x00, "measured")
        if best:
            logger.info(
                "router %s is nearer than %s: %.1f ms, not %.1f ms",
                best.address,
                session.address,
                best_trip * 1e3,
                present * 1e3,
            )
        return best

    async def way_home(self) -> Session | None:
        """A session with a router of this client's zone; one of the given routers is asked which
        there are, when none that is known answers.
        """
        for candidates in (self._attachment.home(), self._attachment.round()):
            found = candidates and await find(candidates, self._config, self._secret, [])
            if not found:
                continue
            self._attachment.learn(found.welcome.alternates, found.welcome.alternate_zones)
            if not self.is_abroad(found):
                return found
            found.close(0x00, "asked")
        return None
