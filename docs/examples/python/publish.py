"""Publishes payloads from the arguments, or each line of standard input, and returns when the router has received them.

    python3 publish.py --router 127.0.0.1:7400 --ca ca.pem --tag host=web-1 --tag type=raid "RAID STATUS CHANGE"
"""

import argparse
import asyncio
import sys

import millrace

BATCH = 256


async def publish(options):
    tags = dict(tag.split("=", 1) for tag in options.tag)
    async with millrace.connect(options.router, options.ca, options.cert, options.key) as session:
        publisher = await session.publisher()
        if options.payload:
            await publisher.publish(tags, [payload.encode() for payload in options.payload])
        else:
            loop, lines = asyncio.get_running_loop(), []
            while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
                lines.append(line.rstrip(b"\r\n"))
                if len(lines) == BATCH or not options.batch:
                    await publisher.publish(tags, lines)
                    lines = []
            await publisher.publish(tags, lines)
        await publisher.flush()
        print(f"published {publisher.next_seq}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--router", default="127.0.0.1:7400", help="HOST:PORT")
    parser.add_argument("--ca", help="certificates to trust (PEM); without it, the public authorities")
    parser.add_argument("--cert", help="certificate of this client (PEM)")
    parser.add_argument("--key", help="its key (PEM)")
    parser.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--batch", action="store_true", help=f"gather {BATCH} lines in a run")
    parser.add_argument("payload", nargs="*", help="payloads; none: the lines of standard input")
    try:
        asyncio.run(publish(parser.parse_args()))
    except (millrace.SessionLost, ValueError, OSError) as error:
        sys.exit(f"publish: {error}")


if __name__ == "__main__":
    main()
