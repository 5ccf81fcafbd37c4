#!/usr/bin/env python3
"""Sends a client's first packet to a router again and again, as clients do whom a full router refuses.

    knock.py ROUTER PORT COMMAND...

ROUTER is an IPv4 address. COMMAND is a client that is given `--router 127.0.0.1:N` besides, where this
program takes its first packet.
"""

import socket
import subprocess
import sys
import time

EVERY_S = 0.01


def first_packet(command):
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.bind(("127.0.0.1", 0))
    door.settimeout(20)
    client = subprocess.Popen([*command, "--router", f"127.0.0.1:{door.getsockname()[1]}"])
    try:
        return door.recv(65535)
    finally:
        client.kill()
        client.wait()


def main():
    router, port, *command = sys.argv[1:]
    packet = first_packet(command)
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while True:
        door.sendto(packet, (router, int(port)))
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
