"""The search for a router: one attempt after the other; a slow one holds up no other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from .._session.attachment import CANDIDATES_MAX, Address
from .._wire.numbers import FINAL_CODES
from ..config import Config
from ..errors import Disconnected
from .session import Session, endpoints

# A router that has not answered for so long does not hold up the attempt at the next one.
_STAGGER_SECONDS = 1.0


async def find(
    addresses: Sequence[Address],
    config: Config,
    secret: bytes,
    failures: list[str],
    avoid: tuple[str, int] | None = None,
) -> Session | None:
    """The session with the first router that answers; None when none does, and `failures` says why.

    Disconnected is raised when a router refuses for a reason that the next attempt will not change.
    """
    left = list(addresses)
    attempts: set[asyncio.Task[Session]] = set()
    found: Session | None = None
    refused: BaseException | None = None
    try:
        while found is None and refused is None and (left or attempts):
            if left:
                attempts.add(
                    asyncio.create_task(_attempt(left.pop(0), config, secret, failures, avoid))
                )
            pause = _STAGGER_SECONDS if left else None
            done, attempts = await asyncio.wait(
                attempts, timeout=pause, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                error = attempt.exception()
                if error is None and found is None:
                    found = attempt.result()
                elif error is None:
                    attempt.result().close()
                elif isinstance(error, Disconnected) and error.code not in FINAL_CODES:
                    continue
                elif not isinstance(error, OSError):
                    refused = error
        # One that answers counts, whatever another one says at the same time.
        if found is None and refused is not None:
            raise refused
        return found
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_discard)


async def measure(
    addresses: Sequence[Address],
    config: Config,
    secret: bytes,
    within: float,
    avoid: set[tuple[str, int]],
) -> list[tuple[float, Session]]:
    """Sessions with those routers that answer within so many seconds, with their round trips."""
    tried = set(avoid)
    attempts: set[asyncio.Task[tuple[float, Session]]] = set()
    try:
        for address in addresses:
            try:
                found = await endpoints(address)
            except OSError:
                continue
            for endpoint, family in found:
                if endpoint not in tried and len(attempts) < CANDIDATES_MAX:
                    tried.add(endpoint)
                    one = _measured(Session(address, config), endpoint, family, secret)
                    attempts.add(asyncio.create_task(one))
        if not attempts:
            return []
        done, late = await asyncio.wait(attempts, timeout=within)
        for attempt in late:
            attempt.cancel()
        # An attempt that is cancelled closes its session.
        await asyncio.gather(*late, return_exceptions=True)
    except BaseException:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_forget)
        raise
    return [attempt.result() for attempt in done if attempt.exception() is None]


async def _measured(
    session: Session, endpoint: tuple[str, int], family: int, secret: bytes
) -> tuple[float, Session]:
    try:
        await session.greet(endpoint, family, secret)
        return await session.round_trip(), session
    except BaseException:
        session.close()
        raise


def _forget(attempt: asyncio.Task[tuple[float, Session]]) -> None:
    """Closes what was measured for nobody."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[1].close()


def _discard(attempt: asyncio.Task[Session]) -> None:
    """Closes what an attempt that nobody waits for made all the same."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _attempt(
    address: Address,
    config: Config,
    secret: bytes,
    failures: list[str],
    avoid: tuple[str, int] | None,
) -> Session:
    """A session with one router, at any address behind its name."""
    try:
        candidates = await endpoints(address)
    except OSError as error:
        failures.append(f"{address}: cannot resolve the name ({error})")
        raise
    random.shuffle(candidates)
    last: Disconnected = Disconnected("lost", "no other address")
    for endpoint, family in candidates:
        if endpoint == avoid:
            continue
        session = Session(address, config)
        try:
            await asyncio.wait_for(session.greet(endpoint, family, secret), config.connect_timeout)
            return session
        except (asyncio.TimeoutError, OSError):
            last = Disconnected("timeout", f"no answer within {config.connect_timeout:g} s")
        except Disconnected as error:
            last = error
        except BaseException:
            session.close()
            raise
        session.close()
        failures.append(f"{address} ({endpoint[0]}): {last}")
        if last.code in FINAL_CODES:
            break
    raise last
