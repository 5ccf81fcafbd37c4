"""A DNS server whose answers change while it runs.

    names.py ADDRESS ZONE

ZONE is a file of JSON, read for each question: names with their IPv4 addresses. Answers turn round
(round robin) and live for one second. Names that are not in the file do not exist.
"""

import ipaddress
import json
import socket
import struct
import sys
from pathlib import Path

ANSWERED, UNKNOWN = 0x8580, 0x8583
TYPE_A, CLASS_IN, TTL_S = 1, 1, 1
HEADER_BYTES = 12


def question(query):
    """The name asked for, its type, and the bytes of the question."""
    labels, at = [], HEADER_BYTES
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    kind, _ = struct.unpack_from(">HH", query, at + 1)
    return ".".join(labels), kind, query[HEADER_BYTES : at + 5]


def answer(query, zone, turn):
    name, kind, asked = question(query)
    addresses = zone.get(name)
    found = addresses if addresses and kind == TYPE_A else []
    found = [found[(turn + place) % len(found)] for place in range(len(found))]
    code = UNKNOWN if addresses is None else ANSWERED
    reply = query[:2] + struct.pack(">HHHHH", code, 1, len(found), 0, 0) + asked
    for address in found:
        reply += struct.pack(">HHHIH", 0xC00C, TYPE_A, CLASS_IN, TTL_S, 4)
        reply += ipaddress.IPv4Address(address).packed
    return reply


def main(address, file):
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind((address, 53))
    turn = 0
    while True:
        query, client = server.recvfrom(512)
        try:
            reply = answer(query, json.loads(Path(file).read_text()), turn)
        except (IndexError, struct.error, UnicodeDecodeError) as malformed:
            print(f"a question that is none: {malformed}", file=sys.stderr)
            continue
        turn += 1
        server.sendto(reply, client)


if __name__ == "__main__":
    main(*sys.argv[1:])
