"""Prints events that match any of the selectors, one JSON object a line, and says "subscribed" on standard error first.

Where events are missing, a line with the key "gap" says why and, if the router knows, how many. Gaps are printed and not
counted: --count 10 ends behind the tenth event that arrived, so who must not wait for lost ones reads the gaps.

    python3 receive.py --router 127.0.0.1:7400 --ca ca.pem --count 10 'host=web-*,payload ~ /RAID/'
"""

import argparse
import asyncio
import json
import sys

import millrace


async def receive(options):
    async with millrace.connect(options.router, options.ca, options.cert, options.key) as session:
        receiver = await session.open_receiver(window=options.window)
        await receiver.subscribe(options.selector)
        print("subscribed", file=sys.stderr, flush=True)
        seen = 0
        while options.count is None or seen < options.count:
            item = await receiver.next()
            if item is None:
                raise millrace.SessionLost(f"the receiver was closed: {receiver.closed}")
            if "payload" in item:
                seen += 1
                item["payload"] = item["payload"].decode(errors="backslashreplace")
            print(json.dumps(item, ensure_ascii=False), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--router", default="127.0.0.1:7400", help="HOST:PORT")
    parser.add_argument("--ca", help="certificates to trust (PEM); without it, the public authorities")
    parser.add_argument("--cert", help="certificate of this client (PEM)")
    parser.add_argument("--key", help="its key (PEM)")
    parser.add_argument("--count", type=int, help="end after so many events that arrived; gaps do not count")
    parser.add_argument("--window", type=int, default=millrace.WINDOW_BYTES, help="bytes granted ahead")
    parser.add_argument("selector", nargs="+")
    try:
        asyncio.run(receive(parser.parse_args()))
    except (millrace.SessionLost, millrace.Refused, OSError) as error:
        sys.exit(f"receive: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
