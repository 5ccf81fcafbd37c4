"""WebSocket as others speak it: python3 tests/doors-websocket.py ADDRESS:PORT

First the client of the package websockets, unmodified. Then frames that are right, cut and wrong, after the groups 1 to 7 of the Autobahn
test suite, which itself needs Python 2 and cannot be run here: what is right is answered, what is wrong ends the connection.
"""

import base64
import json
import os
import socket
import struct
import sys

from websockets.sync.client import connect

HOST, PORT = sys.argv[1].rsplit(":", 1)
TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


def package() -> None:
    with connect(f"ws://{HOST}:{PORT}/events", subprotocols=["millrace.v1"]) as client:
        assert client.subprotocol == "millrace.v1"
        client.send(json.dumps({"op": "subscribe", "sub": "s", "select": ["door=websockets"]}))
        assert json.loads(client.recv(10))["op"] == "subscribed"
        client.send(json.dumps({"op": "publish", "ref": "r", "tags": {"door": "websockets"}, "payload": "grüße"}))
        answers = [json.loads(client.recv(10)) for _ in range(2)]
        event = next(answer for answer in answers if answer["op"] == "event")
        outcome = next(answer for answer in answers if answer.get("ref") == "r")
        assert (event["payload"], event["id"], outcome["outcome"]) == ("grüße", outcome["id"], "confirmed"), answers
        client.ping(b"x").wait(10)


class Raw:
    """A connection whose frames are made by hand."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, int(PORT)), timeout=20)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /events HTTP/1.1\r\nHost: {HOST}:{PORT}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: millrace.v1\r\n\r\n".encode()
        )
        self.bytes = self.socket.makefile("rb")
        assert b" 101 " in self.bytes.readline()
        while self.bytes.readline() != b"\r\n":
            pass

    def send(self, kind: int, payload: bytes, fin=True, rsv=0, masked=True, piece=None) -> "Raw":
        length = len(payload)
        mask = os.urandom(4)
        head = bytes([(fin << 7) | (rsv << 4) | kind])
        if length < 126:
            head += bytes([(masked << 7) | length])
        elif length < 1 << 16:
            head += bytes([(masked << 7) | 126]) + struct.pack("!H", length)
        else:
            head += bytes([(masked << 7) | 127]) + struct.pack("!Q", length)
        if masked:
            head += mask
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        frame = head + payload
        try:
            for at in range(0, len(frame), piece or len(frame)):
                self.socket.sendall(frame[at : at + (piece or len(frame))])
        except OSError:
            pass  # The door may have closed within a frame that is too large.
        return self

    def frame(self):
        """The next frame: its kind and payload; None at the end of the connection."""
        try:
            head = self.bytes.read(2)
            if len(head) < 2:
                return None
            length = head[1] & 127
            if length == 126:
                (length,) = struct.unpack("!H", self.bytes.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.bytes.read(8))
            return head[0] & 15, self.bytes.read(length)
        except ConnectionError:
            return None

    def answer(self) -> dict:
        kind, payload = self.frame()
        assert kind == TEXT, (kind, payload)
        return json.loads(payload)

    def pinged(self, payload: bytes) -> "Raw":
        assert self.frame() == (PONG, payload)
        return self

    def ended(self, *codes: int) -> None:
        """The connection ends, with one of these codes if it says one, and nothing else is said."""
        found = self.frame()
        if found is not None:
            kind, payload = found
            assert kind == CLOSE, (kind, payload)
            assert not payload or struct.unpack("!H", payload[:2])[0] in codes, payload
            self.send(CLOSE, payload[:2])
            assert self.frame() is None


def publish(ref: str, payload: str = "x") -> bytes:
    return json.dumps({"op": "publish", "ref": ref, "tags": {"door": "raw"}, "payload": payload}, ensure_ascii=False).encode()


def right() -> None:
    def confirmed(raw: Raw, ref: str) -> None:
        answer = raw.answer()
        assert (answer.get("ref"), answer.get("outcome")) == (ref, "confirmed"), answer

    for length in (0, 1, 125, 126, 127, 128, 65535, 65536, 200_000):
        confirmed(Raw().send(TEXT, publish("1", "y" * length)), "1")
    confirmed(Raw().send(TEXT, publish("1", "ü€😀"), piece=1), "1")
    whole = publish("1", "in pieces: ü€😀")
    raw = Raw().send(TEXT, whole[:7], fin=False)
    for at in range(7, len(whole)):
        raw.send(CONTINUATION, whole[at : at + 1], fin=False)
    raw.send(PING, b"between").send(CONTINUATION, b"")
    confirmed(raw.pinged(b"between"), "1")
    for payload in (b"", b"hello", bytes(range(125)), b"\x00\xff" * 62):
        Raw().send(PING, payload).pinged(payload)
    raw = Raw()
    for number in range(10):
        raw.send(PING, str(number).encode(), piece=1)
    for number in range(10):
        raw.pinged(str(number).encode())
    raw = Raw().send(PONG, b"nobody asked").send(PING, b"there")
    raw.pinged(b"there").send(CLOSE, struct.pack("!H", 1000) + b"bye").ended(1000)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999):
        Raw().send(CLOSE, struct.pack("!H", code)).ended(code)
    Raw().send(CLOSE, b"").ended(1000, 1005)


def wrong() -> None:
    text = publish("never")
    for rsv in range(1, 8):
        Raw().send(TEXT, text, rsv=rsv).ended(1002)
    for kind in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        Raw().send(kind, b"").ended(1002)
    Raw().send(TEXT, text, masked=False).ended(1002)
    Raw().send(CONTINUATION, text).ended(1002)
    Raw().send(TEXT, text[:9], fin=False).send(TEXT, text[9:]).ended(1002)
    Raw().send(PING, b"x", fin=False).send(CONTINUATION, b"x").ended(1002)
    Raw().send(PING, b"x" * 126).ended(1002)
    Raw().send(CLOSE, b"x").ended(1002, 1007)
    Raw().send(CLOSE, b"x" * 126).ended(1002)
    Raw().send(CLOSE, struct.pack("!H", 1000) + b"\xff\xff").ended(1002, 1007)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000):
        Raw().send(CLOSE, struct.pack("!H", code)).ended(1002)
    for broken in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"):
        Raw().send(TEXT, b'{"op":"' + broken + b'"}').ended(1002, 1007)
        Raw().send(TEXT, b'{"op":"', fin=False).send(CONTINUATION, broken + b'"}').ended(1002, 1007)
    Raw().send(TEXT, publish("large", "z" * (4 << 20))).ended(1009, 1002)


package()
right()
wrong()
