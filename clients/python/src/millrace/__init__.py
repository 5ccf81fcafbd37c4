"""Millrace: publish and receive events with asyncio.

    import asyncio
    import millrace

    async def main():
        async with millrace.connect("router-1.example", ca="ca.pem") as client:
            async with client.subscribe("service=web") as events:
                print(await client.publish({"service": "web"}, "hello"))
                async for item in events:
                    match item:
                        case millrace.Event():
                            print(item.tags, item.text)
                        case millrace.Gap():
                            print("events may be missing:", item.reason)

    asyncio.run(main())

Layers: `_wire` has the bytes, `_session` decides without I/O, `_io` moves bytes and time between
them and aioquic, and the modules without an underscore are what applications use.
"""

from .client import Client, connect
from .config import ConfigError
from .cursor import Cursor
from .errors import Closed, ConnectError, Disconnected, MillraceError, Refused
from .items import Event, EventId, Gap, Level, Outcome, OutcomeKind
from .receiver import Acknowledge, Policy, Receiver

__all__ = [
    "Acknowledge",
    "Client",
    "Closed",
    "ConfigError",
    "ConnectError",
    "Cursor",
    "Disconnected",
    "Event",
    "EventId",
    "Gap",
    "Level",
    "MillraceError",
    "Outcome",
    "OutcomeKind",
    "Policy",
    "Receiver",
    "Refused",
    "connect",
]
