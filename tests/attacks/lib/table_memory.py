"""1,024 receivers of one client take events of 4,096 tag sets: each stream has names of its own for them."""
from h import *
import loads
BOUND_MIB = float(os.environ.get("BOUND_MIB", 160))
TAG_SETS = 4096
SECONDS = 40
async def main():
    with Router("--set", "limits.queue_budget=64MiB") as r:
        async with session(r.addr, r.ca) as s, session(r.addr, r.ca, receivers=1) as p:
            await loads.taken_by(s)
            publisher, base, began, worst = await p.publisher(), r.rss(), time.monotonic(), 0.0
            # Whoever is slow has fewer names by the end of the time, and that is right, too.
            for number in range(2 * TAG_SETS):
                left = began + SECONDS - time.monotonic()
                try: await asyncio.wait_for(publisher.publish({"evil": str(number % TAG_SETS)}, [b"x"]), max(left, 0.01))
                except asyncio.TimeoutError: break
                await asyncio.sleep(0.0015)
                worst = max(worst, r.rss())
                if worst - base > BOUND_MIB or left < 0: break
            print(json.dumps({"rss_before_mib": round(base), "rss_most_mib": round(worst), "events": number + 1, "seconds": round(time.monotonic() - began, 1), "alive": r.alive()}))
            sys.exit(1 if worst - base > BOUND_MIB or not r.alive() else 0)
asyncio.run(main())
