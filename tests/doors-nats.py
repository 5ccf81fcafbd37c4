"""nats-py against the NATS door of a gateway: python3 tests/doors-nats.py nats://ADDRESS:PORT http://ADDRESS:PORT"""

import asyncio
import sys
import time
import urllib.request

import nats
from nats.errors import NoRespondersError


# Longer than anything takes on a machine that has no time.
LONG = 60


async def main(url: str, http: str) -> None:
    patient = {"connect_timeout": LONG, "drain_timeout": LONG}
    one, other = await nats.connect(url, **patient), await nats.connect(url, **patient)

    inbox = await one.subscribe("greet.*")
    await one.publish("greet.bob", b"hello")
    message = await inbox.next_msg(LONG)
    assert (message.subject, message.data) == ("greet.bob", b"hello")

    await one.publish("greet.eve", b"x", headers={"Trace": "17"})
    message = await inbox.next_msg(LONG)
    assert message.headers == {"Trace": "17"}, message.headers

    try:
        await one.request("nobody.home", b"", timeout=LONG)
        raise AssertionError("a request without responders was answered")
    except NoRespondersError:
        pass

    async def answer(message):
        await message.respond(message.data.upper())

    await other.subscribe("upper", cb=answer)
    await other.flush(LONG)
    for number in range(100):
        reply = await one.request("upper", f"text {number}".encode(), timeout=LONG)
        assert reply.data == f"TEXT {number}".encode(), reply.data
    reply = await one.request("upper", b"old", timeout=LONG, old_style=True)
    assert reply.data == b"OLD"

    taken = []
    for client in (one, other):
        for _ in range(2):
            async def take(message):
                taken.append(message.data)
            await client.subscribe("jobs.>", queue="workers", cb=take)
        await client.flush(LONG)
    for number in range(200):
        await one.publish(f"jobs.{number % 3}", str(number).encode())
    end = time.monotonic() + LONG
    while len(taken) < 200 and time.monotonic() < end:
        await asyncio.sleep(0.05)
    await one.flush(LONG)
    assert sorted(taken, key=int) == [str(number).encode() for number in range(200)], len(taken)

    limited = await one.subscribe("limited")
    await limited.unsubscribe(limit=2)
    for number in range(4):
        await one.publish("limited", str(number).encode())
    await one.flush(LONG)
    assert [(await limited.next_msg(LONG)).data for _ in range(2)] == [b"0", b"1"]

    logs = await one.subscribe("logs.*.err")
    await one.flush(LONG)
    request = urllib.request.Request(f"{http}/events?tag=host=web-1&tag=severity=err", data=b"from HTTP")
    with urllib.request.urlopen(request, timeout=LONG) as response:
        assert response.status == 202
    message = await logs.next_msg(LONG)
    assert (message.subject, message.data) == ("logs.web-1.err", b"from HTTP")

    large = await one.subscribe("large")
    await one.publish("large", b"x" * 1_000_000)
    assert len((await large.next_msg(LONG)).data) == 1_000_000
    await other.drain()
    await one.drain()


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 300))
