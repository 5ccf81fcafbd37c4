#!/usr/bin/env python3
"""A long way in front of a router: passes UDP datagrams on, each one later.

    delay.py LISTEN TARGET MILLISECONDS [PORT]

LISTEN and TARGET are IPv4 addresses; both use the same port, 7400. Each direction takes this long, so that a
round trip takes twice as long.
"""

import collections
import selectors
import socket
import sys
import time

PORT = 7400
FLOWS_MAX = 1024


def main():
    listen, target, delay_s = sys.argv[1], sys.argv[2], int(sys.argv[3]) / 1000
    port = int(sys.argv[4]) if len(sys.argv) > 4 else PORT
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind((listen, port))
    doors = selectors.DefaultSelector()
    doors.register(door, selectors.EVENT_READ)
    flows = {}
    #: When, from which socket, to whom, what.
    waiting = collections.deque()
    while True:
        wait = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        for ready, _ in doors.select(wait):
            data, sender = ready.fileobj.recvfrom(65535)
            due = time.monotonic() + delay_s
            if ready.data is not None:
                waiting.append((due, door, ready.data, data))
                continue
            if sender not in flows and len(flows) < FLOWS_MAX:
                flows[sender] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                flows[sender].connect((target, port))
                doors.register(flows[sender], selectors.EVENT_READ, sender)
            if sender in flows:
                waiting.append((due, flows[sender], None, data))
        while waiting and waiting[0][0] <= time.monotonic():
            _, out, to, data = waiting.popleft()
            try:
                out.send(data) if to is None else out.sendto(data, to)
            except OSError:
                # Nobody listens there at the moment: the datagram is lost, as any may be.
                pass


if __name__ == "__main__":
    main()
