"""A crowd of browsers at a gateway: python3 tests/doors-crowd.py http://ADDRESS:PORT CLIENTS PID

Opens server-sent event streams, and sends one event to all of them. Exit code 1 when a stream costs the gateway (process PID)
more than 40 KB, or when somebody does not get the event.
"""

import asyncio
import re
import resource
import sys
import time
import urllib.parse
import urllib.request

BYTES_MAX = 40_000


def resident_bytes(pid: str) -> int:
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024


async def main(url: str, clients: int, pid: str) -> bool:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, port = urllib.parse.urlparse(url).netloc.rsplit(":", 1)
    head = f"GET /events?select=crowd HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()

    async def stream():
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        await reader.readuntil(b"subscribed")
        return reader, writer

    before, streams = resident_bytes(pid), []
    for start in range(0, clients, 200):
        streams += await asyncio.gather(*(stream() for _ in range(min(200, clients - start))))
    each = (resident_bytes(pid) - before) / clients
    began = time.monotonic()
    request = urllib.request.Request(f"{url}/events?tag=crowd=all", data=b"for everybody")
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=60).close())
    await asyncio.wait_for(asyncio.gather(*(reader.readuntil(b"for everybody") for reader, _ in streams)), 120)
    print(f"{clients} streams, {each / 1000:.1f} KB each; all have an event after {time.monotonic() - began:.2f} s")
    return each <= BYTES_MAX


sys.exit(0 if asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3])) else 1)
