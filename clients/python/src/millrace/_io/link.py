"""One QUIC connection on one UDP socket: bytes of streams in both directions, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from .._wire import numbers
from ..errors import Disconnected

# TLS alerts are QUIC's errors from here on; the last octet is the alert.
_ALERT_FIRST = 0x100
_CERTIFICATE_ALERTS = {42, 43, 44, 45, 46, 48, 51}
_CERTIFICATE_REQUIRED = 116


class Link(asyncio.DatagramProtocol):
    """A connection; `on_data` gets what streams carry, `on_end` is told which have ended, `lost` ends
    with the reason.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        on_data: Callable[[int, bytes], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._quic = QuicConnection(configuration=configuration)
        self._on_data, self._on_end = on_data, on_end
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flush: asyncio.Handle | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[Disconnected] = self._loop.create_future()
        self.heard = self._loop.time()

    async def dial(self, endpoint: tuple[str, int], family: int) -> None:
        """Begins the handshake; `ready` says when it is done."""
        local = "::" if ":" in endpoint[0] else "0.0.0.0"
        await self._loop.create_datagram_endpoint(
            lambda: self, local_addr=(local, 0), family=family
        )
        self._quic.connect(endpoint, now=self._loop.time())
        self._transmit()

    def open_stream(self, is_unidirectional: bool = False) -> int:
        return self._quic.get_next_available_stream_id(is_unidirectional=is_unidirectional)

    def write(self, stream: int, data: bytes) -> None:
        """Queues bytes; they go out together with what else this turn of the loop writes."""
        if self.lost.done():
            return
        self._quic.send_stream_data(stream, data)
        if self._flush is None:
            self._flush = self._loop.call_soon(self._transmit)

    def close(self, code: int, reason: str) -> None:
        """Ends the connection; the router is told why."""
        if self._transport is None:
            return
        self._quic.close(error_code=code, reason_phrase=reason)
        self._transmit()
        self._end(Disconnected(numbers.CLOSE_CODES.get(code, hex(code)), reason))

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._quic.receive_datagram(data, addr, now=self._loop.time())
        self._read()
        self._transmit()

    def error_received(self, exc: Exception) -> None:
        """A packet could not be sent, or nobody listens there: QUIC's timers judge that."""

    # Within.

    def _read(self) -> None:
        while (event := self._quic.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                self.heard = self._loop.time()
                if event.data:
                    self._on_data(event.stream_id, event.data)
                if event.end_stream:
                    self._on_end(event.stream_id)
            elif isinstance(event, events.StreamReset):
                self._on_end(event.stream_id)
            elif isinstance(event, events.PingAcknowledged):
                self.heard = self._loop.time()
            elif isinstance(event, events.HandshakeCompleted):
                if not self.ready.done():
                    self.ready.set_result(None)
            elif isinstance(event, events.ConnectionTerminated):
                self._end(_reason(event))

    def _transmit(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._transport is None:
            return
        for data, address in self._quic.datagrams_to_send(now=self._loop.time()):
            self._transport.sendto(data, address)
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._quic.get_timer()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self._quic.handle_timer(now=self._loop.time())
        self._read()
        self._transmit()

    def _end(self, reason: Disconnected) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
        if not self.ready.done():
            self.ready.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _reason(event: events.ConnectionTerminated) -> Disconnected:
    """The router's word for the end of a connection, or what stands in for it."""
    code, said = event.error_code, event.reason_phrase
    alert = code - _ALERT_FIRST
    if alert == _CERTIFICATE_REQUIRED:
        return Disconnected(
            "tls", f"{said or 'the router wants a certificate'}: give cert= and key="
        )
    if alert in _CERTIFICATE_ALERTS:
        return Disconnected(
            "tls",
            f"{said or 'a certificate is not accepted'}: ca= must be the authority of the router's "
            "certificate, its names must have the address that is dialled, and cert= must be of an "
            "authority that the router trusts",
        )
    if 0 <= alert < 0x100:
        return Disconnected("tls", said or f"alert {alert}")
    if event.frame_type is None and code in numbers.CLOSE_CODES and said != "Idle timeout":
        return Disconnected(numbers.CLOSE_CODES[code], said)
    return Disconnected("lost", said or f"QUIC error {code:#x}")
