"""One client asks for the past a thousand times, each time behind 1,000 positions, and takes nothing of it."""
from h import *
import loads
BOUND_MIB = float(os.environ.get("BOUND_MIB", 32))
SUBSCRIBES = int(os.environ.get("SUBSCRIBES", 1500))
async def main():
    with Router("--history-bytes", "16MiB") as r:
        async with loads.Client.at(r.addr, r.ca) as p, loads.Client.at(r.addr, r.ca) as c:
            publisher = await p.publisher()
            await publisher.write(b"".join(p.run(publisher, 0) for _ in range(100)))
            asked, worst = loads.cursor(1000), 0.0
            c.send(*(c.open(n, grant=0) for n in range(64)))
            await c.session.until(lambda: c.session.credit)
            base = r.rss()
            for number in range(SUBSCRIBES):
                at = wire.field(1, number % 64) + wire.field(2, number // 64)
                c.send(wire.frame(wire.SUBSCRIBE, at + wire.field(3, "evil=yes") + asked))
                await asyncio.sleep(0.004)
                worst = max(worst, r.rss())
            # All are answered: filed or refused.
            with contextlib.suppress(asyncio.TimeoutError): await asyncio.wait_for(c.session.until(lambda: c.answered >= SUBSCRIBES), 30)
            worst, refused = max(worst, r.rss()), loads.counts["told 0x2a"]
            print(json.dumps({"rss_before_mib": round(base), "rss_most_mib": round(worst), "answered": c.answered, "told": dict(loads.counts), "alive": r.alive()}))
            sys.exit(1 if worst - base > BOUND_MIB or not r.alive() or c.session.lost else 0)
asyncio.run(main())
