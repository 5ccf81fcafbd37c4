"""Which of several real routers a client comes to: by zone, or by round trip."""

from __future__ import annotations

import asyncio
import unittest.mock
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import millrace
import millrace.client

from .test_routers import RouterTest

# One way: far beyond what a busy machine adds.
_DELAY_SECONDS = 0.15


class _Way(asyncio.DatagramProtocol):
    """Passes what arrives on, later."""

    def __init__(self, out: asyncio.DatagramTransport | None, to: tuple[str, int] | None) -> None:
        self.here: asyncio.DatagramTransport
        self.out, self.to = out, to

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.here = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asyncio.get_running_loop().call_later(_DELAY_SECONDS, self._pass, data, addr)

    def _pass(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.out:
            self.out.sendto(data, self.to)


@asynccontextmanager
async def far_from(router: str) -> AsyncIterator[str]:
    """An address behind which one client is far from a router."""
    loop = asyncio.get_running_loop()
    host, port = router.rsplit(":", 1)
    front, back = _Front(), _Way(None, None)
    await loop.create_datagram_endpoint(lambda: front, local_addr=("127.0.0.1", 0))
    await loop.create_datagram_endpoint(lambda: back, local_addr=("127.0.0.1", 0))
    front.out, front.to, front.back = back.here, (host, int(port)), back
    back.out = front.here
    try:
        yield f"127.0.0.1:{front.here.get_extra_info('sockname')[1]}"
    finally:
        front.here.close()
        back.here.close()


class _Front(_Way):
    """Remembers where its client is."""

    back: _Way

    def __init__(self) -> None:
        super().__init__(None, None)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.back.to = addr
        super().datagram_received(data, addr)


class Placing(RouterTest):
    def test_a_client_leaves_a_far_router_for_the_nearest_before_anything_is_open(self) -> None:
        first = self.folder.router()
        second = self.folder.router("--seed", first.address)

        async def work() -> None:
            async with far_from(first.address) as far:
                async with millrace.connect(far, nearest=False) as stays:
                    self.assertEqual(stays.router, far)
                async with (
                    millrace.connect(far) as client,
                    client.subscribe("n") as receiver,
                ):
                    self.assertIn(client.router, (first.address, second.address))
                    await client.publish({"n": "1"}, "near", min_receivers=1)
                    item = await receiver.next(timeout=10)
                    self.assertIsInstance(item, millrace.Event)

        self.run_within(work())

    def test_a_client_goes_to_its_zone_elsewhere_when_it_is_gone_and_home_again(self) -> None:
        abroad = self.folder.router("--zone", "us")
        home = self.folder.router("--zone", "eu", "--seed", abroad.address)

        async def work() -> None:
            # Who expects something notices within a second and a half that a router is dead.
            async with (
                millrace.connect(abroad.address, zone="eu") as client,
                client.subscribe("n"),
            ):
                self.assertEqual(client.router, home.address)
                home.kill()
                while client.router != abroad.address:
                    await asyncio.sleep(0.05)
                again = await asyncio.to_thread(
                    self.folder.router, "--zone", "eu", "--seed", abroad.address, listen=home.address
                )
                while client.router != again.address:
                    await asyncio.sleep(0.05)

        with unittest.mock.patch.object(millrace.client, "_RETURN_SECONDS", 0.5):
            self.run_within(work())
